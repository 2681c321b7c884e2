"""Only what changed is computed again."""

import itertools
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from acdc_medsam.check_provenance import check_copy
from acdc_medsam.files import read_table
from acdc_medsam.phantom import write_cohort
from gate import Gate
from undisturbed import Started
from workflow_run import Run, Workflow

PATIENTS = ["patient001", "patient002", "patient003", "patient004"]
EXPENSIVE = ("normalize", "render", "embed")
AFTER_SPLIT = {"split", "publish", "verify", "accept", "write"}


def rows_of(workflow: Workflow, patient: str) -> list[dict[str, str]]:
    return [row for row in read_table(workflow.data / "manifest.tsv") if row["patient"] == patient]


def test_the_first_run_makes_everything(finished_once: tuple[Workflow, Run, Any]) -> None:
    workflow, run, _ = finished_once
    assert run.of("normalize") == [f"normalize {name}" for name in PATIENTS]
    assert run.of("render") == [f"render {name}" for name in PATIENTS]
    assert run.of("embed") == ["embed p001-002 with lite_medsam", "embed p003-004 with lite_medsam"]
    assert "ACDC to MedSAM: 4 patients, 8 volumes, 32 slices; at most" in run.output
    rows = read_table(workflow.data / "manifest.tsv")
    assert f"{len(rows)} slices in data/ACDC; report: data/ACDC/report.html" in run.output
    assert len(workflow.stored()) == len({row["embedding_digest"] for row in rows}) == len(rows)


def test_a_second_run_does_nothing(finished: Workflow) -> None:
    assert "Nothing to be done" in finished.run().output


def test_touching_files_does_nothing(finished: Workflow) -> None:
    for path in finished.raw.rglob("*"):
        path.touch()
    for path in (finished.folder / "work").rglob("*.tsv"):
        path.touch()
    assert finished.run().jobs == []


def test_one_voxel_re_runs_its_patient_alone_and_encodes_its_slices_alone(finished: Workflow) -> None:
    before, path = finished.stored(), finished.raw / "training/patient002/patient002_frame01.nii.gz"
    image = nib.load(path)
    voxels = np.asanyarray(image.dataobj).copy()
    voxels[20, 20, 1] = voxels.min()
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), path)
    run = finished.run("verify")
    assert run.of(*EXPENSIVE) == ["embed p001-002 with lite_medsam", "normalize patient002", "render patient002"]
    after = finished.stored()
    new = {name.removesuffix(".pt") for name in set(after) - set(before)}
    own = {row["embedding_digest"] for row in rows_of(finished, "patient002")}
    assert new and new <= own
    assert all(after[name] == time for name, time in before.items())


def test_a_patient_added_and_removed_again(finished: Workflow, tmp_path: Path) -> None:
    before = finished.stored()
    write_cohort(tmp_path / "more", patients=1, first=5, in_plane=(48, 40), depth=4)
    added = finished.raw / "training/patient005"
    shutil.copytree(tmp_path / "more/training/patient005", added)
    run = finished.run("verify")
    assert run.of(*EXPENSIVE) == ["embed p005-006 with lite_medsam", "normalize patient005", "render patient005"]
    assert len(finished.stored()) == len(before) + len(rows_of(finished, "patient005"))
    shutil.rmtree(added)
    run = finished.run("verify")
    assert run.of(*EXPENSIVE) == []
    assert rows_of(finished, "patient005") == []
    assert not list(finished.data.rglob("patient005*"))
    assert not list(finished.folder.glob("ACDC_*/patient005*"))
    finished.run("prune")
    assert finished.stored() == before


@pytest.mark.parametrize("split", [{"seed": 7}, {"validation": 0.5}, {"unit": "slice"}])
def test_another_split_recomputes_nothing_else(finished: Workflow, encoder: Any, split: dict[str, Any]) -> None:
    before = finished.stored()
    finished.configure(encoder=encoder, split=split)
    run = finished.run()
    assert {job.split()[0] for job in run.jobs} == AFTER_SPLIT
    assert finished.stored() == before


def test_another_percentile_recomputes_everything(few: Workflow) -> None:
    few.configure(**few.configuration(), normalize={"percentile": 95})
    run = few.run("embeddings")
    assert len(run.of("normalize")) == len(run.of("render")) == len(run.of("embed")) == 2


LOST = {
    "an H5 slice": ("work/h5/patient001/slices/*", "verify", ["normalize patient001", "render patient001"]),
    "an H5 volume": ("work/h5/patient001/volumes/*", "verify", ["normalize patient001", "render patient001"]),
    "a PNG image": ("work/png/patient001/images/*", "verify", ["render patient001"]),
    "a PNG mask": ("work/png/patient001/masks/*", "verify", ["render patient001"]),
    "an index": ("work/png/patient001/index.tsv", "verify", ["render patient001"]),
    "a published image": ("data/ACDC/*/images/patient001*", "verify", []),
    "a published embedding": ("data/ACDC/*/image_embeddings/patient001*", "verify", []),
    "the positional encoding": ("data/ACDC/positional_encoding/pe.pt", "verify", []),
    "a published H5 slice": ("ACDC_training_slices/patient001*", "verify", []),
    "quality.json": ("data/ACDC/quality.json", "verify", []),
    "a patient's measures": ("work/measures/patient001-*", "report", []),
    "the report": ("data/ACDC/report.html", "report", []),
    "the dataset card": ("data/ACDC/README.md", "all", []),
    "croissant.json": ("data/ACDC/croissant.json", "all", []),
}
"""What is lost, the target that needs it, and which of the patient's jobs make it again."""


@pytest.fixture(scope="module")
def worn(finished_once: tuple[Workflow, Run, Any], tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """One copy of a complete run, in which file after file is lost and made again."""
    return finished_once[0].copy(tmp_path_factory.mktemp("worn") / "run")


@pytest.mark.parametrize("kind", LOST)
def test_a_deleted_file_is_noticed_and_made_again(worn: Workflow, kind: str) -> None:
    pattern, target, jobs = LOST[kind]
    lost = sorted(worn.folder.glob(pattern))[0]
    content, before = lost.read_bytes(), worn.stored()
    lost.unlink()
    run = worn.run(target)
    assert lost.read_bytes() == content
    assert run.of("normalize", "render") == jobs
    assert worn.stored() == before


def test_provenance_json_is_made_again_and_is_true(worn: Workflow) -> None:
    lost = worn.data / "provenance.json"
    content = json.loads(lost.read_text())
    lost.unlink()
    assert worn.run().jobs == ["write the provenance of every file"]
    assert json.loads(lost.read_text()) | {"written": content["written"]} == content
    files, differences = check_copy(worn.data, threads=2)
    assert files == len(content["files"]) and differences == []


def test_nothing_is_left_to_do_after_that(worn: Workflow) -> None:
    assert worn.run().jobs == []


EXPORTS = {
    "nnunet": "export for nnU-Net",
    "webdataset": "export shards for webdataset",
    "lists": "export lists for SSL4MIS",
    "structures": "export a dataset per structure",
}


def test_an_export_is_made_again_only_when_the_dataset_changed(finished: Workflow, encoder: Any) -> None:
    assert finished.run(*EXPORTS).jobs == sorted(EXPORTS.values())
    (finished.folder / "data/exports/lists/val.list").unlink()
    assert finished.run(*EXPORTS).jobs == [EXPORTS["lists"]]
    finished.configure(encoder=encoder, split={"seed": 7})
    assert set(finished.run(*EXPORTS).jobs) > set(EXPORTS.values())


def test_a_deleted_embedding_alone_is_encoded_again(finished: Workflow) -> None:
    before = finished.stored()
    lost = sorted(finished.store.glob("*/*.pt"))[0]
    content = lost.read_bytes()
    lost.unlink()
    run = finished.run("verify")
    assert len(run.of("embed")) == 1 and not run.of("normalize", "render")
    assert lost.read_bytes() == content
    after = finished.stored()
    assert {name for name in after if after[name] != before[name]} == {lost.name}


def test_batches_of_another_width_encode_nothing(finished: Workflow, encoder: Any) -> None:
    before = finished.stored()
    for width, jobs in ((1, 4), (16, 1)):
        finished.configure(encoder={**encoder, "patients_per_job": width})
        assert len(finished.run("embeddings").of("embed")) == jobs
        assert finished.stored() == before


def test_batches_of_another_width_give_the_same_bytes(few: Workflow) -> None:
    content, config = {path.name: path.read_bytes() for path in few.store.glob("*/*.pt")}, few.configuration()
    for width, at_once in ((16, 1), (1, 2)):
        shutil.rmtree(few.store)
        few.configure(encoder={**config["encoder"], "patients_per_job": width})
        run = few.run("embeddings", "--resources", "gpu=2")
        assert {path.name: path.read_bytes() for path in few.store.glob("*/*.pt")} == content
        assert at_a_time(run, "embed") == at_once


def at_a_time(run: Run, rule: str) -> int:
    """The most jobs of a rule that were at work at once, by the order in which Snakemake names them."""
    started, finished = rf"Job \d+: {rule} ", rf"Finished jobid: \d+ \(Rule: {rule}\)"
    steps = [1 if match[1] else -1 for match in re.finditer(f"({started})|{finished}", run.output)]
    return max(itertools.accumulate(steps))


@pytest.mark.disturbed
def test_a_killed_job_keeps_what_it_had_encoded(few: Workflow, gate: Gate, moments: Gate) -> None:
    shutil.rmtree(few.store)
    few.configure(encoder={**few.configuration()["encoder"], "patients_per_job": 16})
    few.environment = gate.environment
    slices = len(read_table(few.data / "manifest.tsv"))
    # The job of all patients writes more files than the job of one did, in the same way.
    gate.hold("embed", moments.renames("embed")[1])
    started = Started(few, "embeddings")
    assert started.wait_for(lambda _: bool(gate.held("embed")))
    for job in gate.held("embed"):
        os.kill(job, signal.SIGKILL)
    gate.release("embed")
    assert started.process.wait() == 1
    kept = few.stored()
    assert len(kept) == 1 and slices > 2, "the job was killed midway"
    run = few.run("embeddings")
    after = few.stored()
    assert len(after) == slices and all(after[name] == kept[name] for name in kept)
    log = (few.folder / "work/logs/embed/p001-016.log").read_text()
    assert re.search(rf"encoded {slices - len(kept)} slices in [\d.]+ s, kept {len(kept)}$", log, re.MULTILINE)
    assert run.of("normalize", "render") == []
