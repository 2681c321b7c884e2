"""Whatever happens to a file that the workflow made, the same command makes it good again."""

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

from acdc_medsam.__main__ import main
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
"""Every kind of file that the workflow makes of a dataset: what it is called, and where files of the kind lie."""

TARGETS = ("all", "nnunet", "webdataset", "lists", "structures")


def files_of(workflow: Workflow, kind: str) -> list[Path]:
    found = sorted(path for path in workflow.folder.glob(KINDS[kind]) if path.is_file())
    assert found, kind
    return found


def harm(workflow: Workflow, kind: str, how: str) -> Path:
    """Harm a file of a kind; what replaces it is the last one of its kind, or of another kind if it is alone."""
    victim, *others = files_of(workflow, kind)
    HARMS[how](victim, others[-1] if others else workflow.folder / "config.yaml")
    return victim


@pytest.fixture(scope="module")
def whole(undisturbed: Workflow, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, dict[str, bytes]]:
    """One complete run with all exports, harmed and mended by test after test, and what it held at first."""
    workflow = undisturbed.copy(tmp_path_factory.mktemp("harmed") / "run")
    workflow.run(*TARGETS)
    return workflow, contents(workflow)


def mended(workflow: Workflow, expected: dict[str, bytes], victims: list[Path]) -> Run:
    """Run the same command again: it says what it found, and all is as it was."""
    run = workflow.run(*TARGETS)
    assert "Traceback" not in run.output
    assert differences(contents(workflow), expected) == [], victims
    return run


def rounds() -> list[Any]:
    """Each kind gets each harm, many kinds a run, in turns."""
    return [pytest.param(first, id=str(first)) for first in range(len(HARMS))]


@pytest.mark.parametrize("first", rounds())
def test_every_kind_of_file_is_made_good(whole: tuple[Workflow, dict[str, bytes]], first: int) -> None:
    workflow, expected = whole
    hows = itertools.islice(itertools.cycle(HARMS), first, None)
    victims = [harm(workflow, kind, how) for kind, how in zip(KINDS, hows, strict=False)]
    mended(workflow, expected, victims)


def test_nothing_is_left_to_do_after_that(whole: tuple[Workflow, dict[str, bytes]]) -> None:
    assert whole[0].run(*TARGETS).jobs == []


def test_each_damage_alone_is_made_good(
    whole: tuple[Workflow, dict[str, bytes]], request: pytest.FixtureRequest
) -> None:
    """Among others a damage may be made good by what another one has run again; `--each-damage` takes its time."""
    workflow, expected = whole
    pairs = list(itertools.product(KINDS, HARMS))
    chosen = pairs if request.config.getoption("--each-damage") else pairs[:: len(pairs) // 3]
    for kind, how in chosen:
        victim = harm(workflow, kind, how)
        run = mended(workflow, expected, [victim])
        print(f"{kind} {how}: {len(run.jobs)} jobs")
    assert workflow.run(*TARGETS).jobs == []
    print(f"{len(chosen)} damages, each alone, all made good")


def patients_of(run: Run) -> list[str]:
    """What was made again of which patient."""
    return run.of("normalize", "render")


def test_damage_is_named_and_its_patient_s_jobs_alone_run(few: Workflow) -> None:
    expected = contents(few)
    stored = few.stored()
    harmed = [harm(few, kind, "overwritten") for kind in ("an image", "an H5 slice")]
    planned = few.run("--dry-run").output
    run = few.run()
    for output in (planned, run.output):
        for path in harmed:
            assert f"{path.relative_to(few.folder)} has other content than was made" in output
    assert patients_of(run) == ["normalize patient001", "render patient001"]
    assert differences(contents(few), expected) == [] and few.stored() == stored


def test_a_damaged_embedding_alone_is_encoded_again(few: Workflow) -> None:
    """Also where the batch that it was encoded for is another one by then."""
    expected = {name: content for name, content in contents(few).items() if "/store/" in name}
    before = few.stored()
    lost = harm(few, "a published embedding", "overwritten")
    inode = lost.stat().st_ino
    few.configure(encoder={**few.configuration()["encoder"], "patients_per_job": 16})
    run = few.run()
    assert "changed since it was made; it is made again" in run.output
    assert re.search(rf"encoded 1 slices in [\d.]+ s, kept {len(before) - 1}$", run.output, re.MULTILINE)
    after = few.stored()
    assert len({name for name in after if after[name] != before[name]}) == 1
    assert {name: content for name, content in contents(few).items() if "/store/" in name} == expected
    assert lost.stat().st_ino != inode, "what is published is the new file"
    assert main(["verify", str(few.data)]) == 0


@pytest.fixture
def workflow(unmade: Workflow) -> Workflow:
    """Nothing made yet of two patients, to be made without embeddings."""
    unmade.configure(encoder={"name": "none"}, images={"size": 64})
    return unmade


@pytest.mark.parametrize("link", ["copy", "symlink"])
def test_what_is_published_otherwise_is_made_good_too(workflow: Workflow, link: str) -> None:
    workflow.configure(**workflow.configuration(), publish={"link": link})
    workflow.run()
    expected = contents(workflow)
    for kind, how in (
        ("a published image", "overwritten"),
        ("a published H5 slice", "emptied"),
        ("a mask", "replaced"),
    ):
        harm(workflow, kind, how)
    mended_run = workflow.run()
    assert "Traceback" not in mended_run.output
    assert differences(contents(workflow), expected) == []
    assert main(["verify", str(workflow.data)]) == 0


def keep_times(path: Path, damage: Callable[[], object]) -> None:
    status = path.stat()
    path.chmod(0o644)
    damage()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_damage_of_the_same_size_and_time_is_found_and_repaired(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.run()
    expected = contents(workflow)
    # Snakemake gives declared outputs a new time when their job has ended; this run takes note of it.
    assert workflow.run().jobs == []
    kinds = ("an H5 volume", "an image", "a table of slices", "a published mask", "the card")
    victims = [files_of(workflow, kind)[0] for kind in kinds]
    for victim in victims:
        keep_times(victim, lambda path=victim: overwrite(path, path))  # type: ignore[misc]
    assert workflow.run().jobs == []
    assert main(["verify", str(workflow.data)]) == 1
    said = capsys.readouterr().out
    for victim in victims:
        assert victim.name in said, said
    assert said.splitlines()[-1] == (
        "to make what is damaged again, run the command that made the dataset with `repair`: snakemake repair"
    )
    run = workflow.run("repair")
    assert patients_of(run) == ["normalize patient001", "render patient001", "render patient002"]
    assert differences(contents(workflow), expected) == []
    assert main(["verify", str(workflow.data)]) == 0


def test_a_job_does_not_go_on_with_damage(workflow: Workflow) -> None:
    """What kept its size and time, and so was not seen at the start, is named by the job that reads it."""
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


def test_output_whose_times_changed_is_read_once_and_kept(few: Workflow, tmp_path: Path) -> None:
    copied = Workflow(Path(shutil.copytree(few.folder, tmp_path / "copied", copy_function=shutil.copyfile)))
    victim = harm(copied, "an image", "overwritten")
    run = copied.run()
    assert patients_of(run) == ["render patient001"] and run.of("embed") == ["embed p001-001 with lite_medsam"]
    assert "encoded 0 slices" in run.output and victim.is_file()
    assert copied.run().jobs == []


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file but Snakemake's own: inode, time of modification, content."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and ".snakemake" not in path.relative_to(folder).parts
    }


def test_a_dry_run_changes_nothing(few: Workflow) -> None:
    for kind, how in (("an image", "overwritten"), ("published.tsv", "emptied"), ("an embedding", "deleted")):
        harm(few, kind, how)
    for path in few.raw.rglob("*.nii.gz"):
        path.touch()
    before = state(few.folder)
    planned = few.run("--dry-run").output
    assert "render patient001" in planned and "publish the dataset" in planned
    assert state(few.folder) == before


def test_a_dry_run_of_nothing_makes_nothing(workflow: Workflow) -> None:
    before = state(workflow.folder)
    assert "normalize patient001" in workflow.run("--dry-run").output
    assert state(workflow.folder) == before and not (workflow.folder / "work").exists()


def test_the_rules_know_what_they_make(workflow: Workflow) -> None:
    workflow.run()
    assert not list(workflow.data.rglob(".*")) and not list(workflow.folder.glob("ACDC_*/.*"))
    summary = workflow.run("--summary").output
    for kind in ("h5/patient001/volumes", "h5/patient001/slices", "png/patient001/images", "png/patient001/masks"):
        assert re.search(rf"^work/{kind}\t", summary, re.MULTILINE), summary
    workflow.run("--delete-all-output")
    assert not list(workflow.folder.glob("work/*/*/*/*.*"))


def replace_with_older(path: Path, content: bytes) -> None:
    """As ``rsync -a`` or ``cp -p`` do: other content, a time before that of all output."""
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))


def test_a_raw_file_that_is_replaced_by_an_older_one_is_noticed(workflow: Workflow) -> None:
    workflow.run("images")
    first = workflow.raw / "training/patient001/patient001_frame01.nii.gz"
    content = first.read_bytes()
    image = nib.load(first)
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj)[::-1].copy(), image.affine, image.header), first)
    replace_with_older(first, first.read_bytes())
    assert patients_of(workflow.run("images")) == ["normalize patient001", "render patient001"]
    replace_with_older(first, content)
    for path in workflow.raw.rglob("*"):
        path.touch()
    assert patients_of(workflow.run("images")) == ["normalize patient001", "render patient001"]
    assert workflow.run("images").jobs == []


def test_a_checkpoint_is_known_by_content_not_by_size_and_time(few: Workflow, checkpoint: Path) -> None:
    weights = few.folder / "weights.pth"
    shutil.copy2(checkpoint, weights)
    few.configure(encoder={**few.configuration()["encoder"], "checkpoint": "weights.pth"})
    few.run("embeddings", "--max-checksum-file-size", "1000")
    weights.touch()
    assert few.run("embeddings", "--max-checksum-file-size", "1000").jobs == []
    replace_with_older(weights, checkpoint.read_bytes() + b"other")
    planned = few.run("embeddings", "--max-checksum-file-size", "1000", "--dry-run").output
    assert planned.count("embed p00") >= 2 and "write the positional encoding" in planned
