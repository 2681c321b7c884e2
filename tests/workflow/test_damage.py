"""Whatever happens to a file that the workflow made, the same command restores it."""

import itertools
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from acdc_medsam.cli import main
from harms import HARMS, overwrite
from undisturbed import contents, differences
from workflow_run import Run, Workflow

INDEXES = ("published", "verified", "accepted", "report", "card", "provenance")

KINDS = {
    "an H5 volume": "work/h5/patient001/volumes/*.h5",
    "an H5 slice": "work/h5/patient001/slices/*.h5",
    "an index of H5 files": "work/h5/patient001/index.tsv",
    "a published H5 volume": "ACDC_training_volumes/patient002*",
    "a published H5 slice": "ACDC_training_slices/patient002*",
    "an image": "work/png/patient001/images/*.png",
    "a mask": "work/png/patient001/masks/*.png",
    "a table of slices": "work/png/patient001/slices.tsv",
    "an index of images": "work/png/patient001/index.tsv",
    "a published image": "data/ACDC/*/images/patient002*",
    "a published mask": "data/ACDC/*/masks/patient002*",
    "an embedding": "work/embeddings/store/*/*.pt",
    "a record of an embedding": "work/embeddings/store/*/*.json",
    "a table of embeddings": "work/embeddings/lite_medsam/p*-*.tsv",
    "a published embedding": "data/ACDC/*/image_embeddings/patient002*",
    "the positional encoding": "work/embeddings/lite_medsam/pe.pt",
    "the positional encoding's index": "work/embeddings/lite_medsam/positional_encoding.tsv",
    "the published positional encoding": "data/ACDC/positional_encoding/pe.pt",
    "a patient's measures": "work/measures/*.npz",
    "a record of measures": "work/measures/*.json",
    "the index of measures": "work/measures/index.tsv",
    "the split": "work/split.tsv",
    "the manifest": "data/ACDC/manifest.tsv",
    "quality.json": "data/ACDC/quality.json",
    "the report": "data/ACDC/report.html",
    "the card": "data/ACDC/README.md",
    "croissant.json": "data/ACDC/croissant.json",
    "provenance.json": "data/ACDC/provenance.json",
    **{f"{name}.tsv": f"work/{name}.tsv" for name in INDEXES},
    "times of files": "work/png/patient001/.index.tsv.times",
    "what is known of raw files": "work/outside.json",
    "what was found sound": "work/sound_items.json",
    "pieces of the report": "work/report_pieces.json",
    "nnU-Net's copy of an image": "data/exports/nnunet/Dataset027_ACDC/imagesTr/*",
    "nnU-Net's dataset.json": "data/exports/nnunet/Dataset027_ACDC/dataset.json",
    "a shard": "data/exports/webdataset/*.tar",
    "a list": "data/exports/lists/train.list",
    "a linked H5 slice": "data/exports/lists/data/slices/*",
    "a structure's mask": "data/exports/structures/train/LV/masks/*",
    "a structure's embedding": "data/exports/structures/train/LV/image_embeddings/*",
    "a licence": "data/exports/lists/LICENCE*",
    "an export's index": "work/exports/structures.tsv",
}
"""Every kind of file of a dataset: name of the kind -> pattern of its files."""

TARGETS = ("all", "nnunet", "webdataset", "lists", "structures")


def files_of(workflow: Workflow, kind: str) -> list[Path]:
    found = sorted(path for path in workflow.folder.glob(KINDS[kind]) if path.is_file())
    assert found, kind
    return found


def harm(workflow: Workflow, kind: str, how: str) -> Path:
    """Damage the first file of a kind; a replacement is the last file of the kind, or else the configuration."""
    victim, *others = files_of(workflow, kind)
    HARMS[how](victim, others[-1] if others else workflow.folder / "config.yaml")
    return victim


@pytest.fixture(scope="module")
def exported(undisturbed: Workflow, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, dict[str, bytes]]:
    """A complete run with all exports, which each test damages and restores, and its content at first."""
    workflow = undisturbed.copy(tmp_path_factory.mktemp("harmed") / "run")
    workflow.run(*TARGETS)
    return workflow, contents(workflow)


def restore(workflow: Workflow, expected: dict[str, bytes], victims: list[Path]) -> Run:
    """Run the same command again, and check that all files are as expected."""
    run = workflow.run(*TARGETS)
    assert "Traceback" not in run.output
    assert differences(contents(workflow), expected) == [], victims
    return run


def rounds() -> list[Any]:
    """Return the index of the harm that the first kind gets in each round, so that in the end each kind gets each."""
    return [pytest.param(first, id=str(first)) for first in range(len(HARMS))]


@pytest.mark.parametrize("first", rounds())
def test_every_kind_of_file_is_restored(exported: tuple[Workflow, dict[str, bytes]], first: int) -> None:
    workflow, expected = exported
    harms = itertools.islice(itertools.cycle(HARMS), first, None)
    victims = [harm(workflow, kind, how) for kind, how in zip(KINDS, harms, strict=False)]
    restore(workflow, expected, victims)


def test_nothing_is_left_to_do_after_that(exported: tuple[Workflow, dict[str, bytes]]) -> None:
    assert exported[0].run(*TARGETS).jobs == []


def test_each_damage_by_itself_is_restored(
    exported: tuple[Workflow, dict[str, bytes]], request: pytest.FixtureRequest
) -> None:
    """Damage one file at a time: among others, it may be restored because of them. `--each-damage` tries all."""
    workflow, expected = exported
    pairs = list(itertools.product(KINDS, HARMS))
    chosen = pairs if request.config.getoption("--each-damage") else pairs[:: len(pairs) // 3]
    for kind, how in chosen:
        victim = harm(workflow, kind, how)
        run = restore(workflow, expected, [victim])
        print(f"{kind} {how}: {len(run.jobs)} jobs")
    assert workflow.run(*TARGETS).jobs == []
    print(f"{len(chosen)} damages, each by itself, all restored")


def patients_of(run: Run) -> list[str]:
    """Return the jobs of single patients that ran."""
    return run.of("normalize", "render")


def test_damage_is_named_and_only_its_patients_jobs_run(small_run: Workflow) -> None:
    expected = contents(small_run)
    stored = small_run.stored()
    harmed = [harm(small_run, kind, "overwritten") for kind in ("an image", "an H5 slice")]
    planned = small_run.run("--dry-run").output
    run = small_run.run()
    for output in (planned, run.output):
        for path in harmed:
            assert f"{path.relative_to(small_run.folder)} has other content than was made" in output
    assert patients_of(run) == ["normalize patient001", "render patient001"]
    assert differences(contents(small_run), expected) == [] and small_run.stored() == stored


def test_only_a_damaged_embedding_is_encoded_again(small_run: Workflow) -> None:
    """This holds even if the batch that it was encoded for has changed since."""
    expected = {name: content for name, content in contents(small_run).items() if "/store/" in name}
    before = small_run.stored()
    lost = harm(small_run, "a published embedding", "overwritten")
    inode = lost.stat().st_ino
    small_run.configure(encoder={**small_run.configuration()["encoder"], "patients_per_job": 16})

    run = small_run.run()
    assert "changed since it was made; it is made again" in run.output
    assert re.search(rf"encoded 1 slices in [\d.]+ s, kept {len(before) - 1}$", run.output, re.MULTILINE)

    after = small_run.stored()
    assert len({name for name in after if after[name] != before[name]}) == 1
    assert {name: content for name, content in contents(small_run).items() if "/store/" in name} == expected
    assert lost.stat().st_ino != inode, "the new file is published"
    assert main(["verify", str(small_run.data)]) == 0


@pytest.fixture
def workflow(fresh: Workflow) -> Workflow:
    """A workflow on two patients before its first run, without embeddings."""
    fresh.configure(encoder={"name": "none"}, images={"size": 64})
    return fresh


@pytest.fixture(scope="module")
def imaged_once(undisturbed: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A complete run on two patients without embeddings; never written to."""
    folder = tmp_path_factory.mktemp("imaged") / "run"
    shutil.copytree(undisturbed.raw, folder / "raw")
    workflow = Workflow(folder)
    workflow.configure(encoder={"name": "none"}, images={"size": 64})
    workflow.run()
    return workflow


@pytest.fixture
def imaged(imaged_once: Workflow, tmp_path: Path) -> Workflow:
    """A copy of a complete run without embeddings, for a test to change."""
    return imaged_once.copy(tmp_path / "run")


@pytest.mark.parametrize("link", ["copy", "symlink"])
def test_copies_and_symlinks_are_restored_too(workflow: Workflow, link: str) -> None:
    workflow.configure(**workflow.configuration(), publish={"link": link})
    workflow.run()
    expected = contents(workflow)
    for kind, how in (
        ("a published image", "overwritten"),
        ("a published H5 slice", "emptied"),
        ("a mask", "replaced"),
    ):
        harm(workflow, kind, how)
    assert "Traceback" not in workflow.run().output
    assert differences(contents(workflow), expected) == []
    assert main(["verify", str(workflow.data)]) == 0


def keep_times(path: Path, damage: Callable[[], object]) -> None:
    """Damage a file and give it its time of modification back."""
    status = path.stat()
    path.chmod(0o644)
    damage()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_damage_of_the_same_size_and_time_is_found_and_repaired(
    imaged: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = contents(imaged)
    # Snakemake gives declared outputs a new time when their job has ended. This run records it.
    assert imaged.run().jobs == []
    kinds = ("an H5 volume", "an image", "a table of slices", "a published mask", "the card")
    victims = [files_of(imaged, kind)[0] for kind in kinds]
    for victim in victims:
        keep_times(victim, lambda path=victim: overwrite(path, path))  # type: ignore[misc]

    assert imaged.run().jobs == []
    assert main(["verify", str(imaged.data)]) == 1
    said = capsys.readouterr().out
    for victim in victims:
        assert victim.name in said, said
    assert said.splitlines()[-1] == (
        "to make what is damaged again, run the command that made the dataset with `repair`: snakemake repair"
    )

    run = imaged.run("repair")
    assert patients_of(run) == ["normalize patient001", "render patient001", "render patient002"]
    assert differences(contents(imaged), expected) == []
    assert main(["verify", str(imaged.data)]) == 0


def test_a_job_does_not_use_a_damaged_file(workflow: Workflow) -> None:
    """Damage that keeps size and time is not seen at the start, so the job that reads the file reports it."""
    workflow.run("images")
    victim = files_of(workflow, "an H5 volume")[0]
    keep_times(victim, lambda: overwrite(victim, victim))
    workflow.configure(encoder={"name": "none"}, images={"size": 96})
    run = workflow.run("images", "--keep-going", expect=1)
    assert f"{victim.relative_to(workflow.folder)} has changed since it was made; `snakemake repair`" in run.output
    assert "Traceback" not in run.output
    assert patients_of(workflow.run("repair"))[0] == "normalize patient001"
    workflow.run("images")
    assert workflow.run("images").jobs == []


def test_output_whose_times_changed_is_read_once_and_kept(small_run: Workflow, tmp_path: Path) -> None:
    copied = Workflow(Path(shutil.copytree(small_run.folder, tmp_path / "copied", copy_function=shutil.copyfile)))
    victim = harm(copied, "an image", "overwritten")
    run = copied.run()
    assert patients_of(run) == ["render patient001"] and run.of("embed") == ["embed p001-001 with lite_medsam"]
    assert "encoded 0 slices" in run.output and victim.is_file()
    assert copied.run().jobs == []


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return the inode, time of modification and content of every file but Snakemake's own."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and ".snakemake" not in path.relative_to(folder).parts
    }


def test_a_dry_run_changes_nothing(small_run: Workflow) -> None:
    for kind, how in (("an image", "overwritten"), ("published.tsv", "emptied"), ("an embedding", "deleted")):
        harm(small_run, kind, how)
    for path in small_run.raw.rglob("*.nii.gz"):
        path.touch()
    before = state(small_run.folder)
    planned = small_run.run("--dry-run").output
    assert "render patient001" in planned and "publish the dataset" in planned
    assert state(small_run.folder) == before


def test_a_dry_run_before_the_first_run_makes_nothing(workflow: Workflow) -> None:
    before = state(workflow.folder)
    assert "normalize patient001" in workflow.run("--dry-run").output
    assert state(workflow.folder) == before and not (workflow.folder / "work").exists()


def test_the_rules_know_what_they_make(imaged: Workflow) -> None:
    assert not list(imaged.data.rglob(".*")) and not list(imaged.folder.glob("ACDC_*/.*"))
    summary = imaged.run("--summary").output
    for kind in ("h5/patient001/volumes", "h5/patient001/slices", "png/patient001/images", "png/patient001/masks"):
        assert re.search(rf"^work/{kind}\t", summary, re.MULTILINE), summary
    imaged.run("--delete-all-output")
    assert not list(imaged.folder.glob("work/*/*/*/*.*"))


def replace_with_older(path: Path, content: bytes) -> None:
    """Replace a file as ``rsync -a`` and ``cp -p`` do, with other content and a time before that of all output."""
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))


def test_a_raw_file_replaced_with_an_older_one_is_noticed(imaged: Workflow) -> None:
    path = imaged.raw / "training/patient001/patient001_frame01.nii.gz"
    content = path.read_bytes()
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj)[::-1].copy(), image.affine, image.header), path)
    replace_with_older(path, path.read_bytes())
    assert patients_of(imaged.run("images")) == ["normalize patient001", "render patient001"]
    replace_with_older(path, content)
    for each in imaged.raw.rglob("*"):
        each.touch()
    assert patients_of(imaged.run("images")) == ["normalize patient001", "render patient001"]
    assert imaged.run("images").jobs == []


def test_a_checkpoint_is_identified_by_content(small_run: Workflow, checkpoint: Path) -> None:
    weights = small_run.folder / "weights.pth"
    shutil.copy2(checkpoint, weights)
    small_run.configure(encoder={**small_run.configuration()["encoder"], "checkpoint": "weights.pth"})
    small_run.run("embeddings", "--max-checksum-file-size", "1000")
    weights.touch()
    assert small_run.run("embeddings", "--max-checksum-file-size", "1000").jobs == []
    replace_with_older(weights, checkpoint.read_bytes() + b"other")
    planned = small_run.run("embeddings", "--max-checksum-file-size", "1000", "--dry-run").output
    assert planned.count("embed p00") >= 2 and "write the positional encoding" in planned
