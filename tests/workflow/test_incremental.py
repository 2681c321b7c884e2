"""Only what changed is computed again."""

import csv
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from acdc_medsam.formats.files import read_table
from acdc_medsam.phantom.cohort import write_cohort
from exported import write_cine
from workflow_run import Run, Workflow

PATIENTS = ["patient001", "patient002", "patient003", "patient004"]
EXPENSIVE = ("normalize", "render", "embed")
AFTER_SPLIT = {"split", "publish", "verify", "accept", "write"}


def rows_of(workflow: Workflow, patient: str) -> list[dict[str, str]]:
    """Return the rows of a patient in the manifest."""
    return [row for row in read_table(workflow.data / "manifest.tsv") if row["patient"] == patient]


def test_the_first_run_makes_everything(finished_once: tuple[Workflow, Run, Any]) -> None:
    workflow, run, _ = finished_once
    assert run.of("normalize") == [f"normalize {name}" for name in PATIENTS]
    assert run.of("render") == [f"render {name}" for name in PATIENTS]
    assert run.of("embed") == ["embed p001-002 with lite_medsam", "embed p003-004 with lite_medsam"]
    assert "ACDC to MedSAM, from NIfTI files: 4 patients, 8 volumes, 12 slices; at most" in run.output
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


def test_a_changed_voxel_only_reruns_its_patient(finished: Workflow) -> None:
    before = finished.stored()
    path = finished.raw / "training/patient002/patient002_frame01.nii.gz"
    image = nib.load(path)
    voxels = np.asanyarray(image.dataobj).copy()
    voxels[20, 20, 0] = voxels.min()
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
    write_cohort(tmp_path / "more", patients=1, first=5, in_plane=(48, 40), depth=3)
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


@pytest.mark.parametrize(
    "split",
    [
        {"seed": 7},
        {"validation": 0.5},
        {"unit": "slice"},
        {"fold": 0},
        {"scheme": "nnunet", "fold": 1},
        {"scheme": "ssl4mis"},
    ],
    ids=["seed", "validation", "unit", "fold", "nnunet", "ssl4mis"],
)
def test_another_split_recomputes_nothing_else(finished: Workflow, encoder: Any, split: dict[str, Any]) -> None:
    before = finished.stored()
    finished.configure(encoder=encoder, split=split)
    run = finished.run()
    assert {job.split()[0] for job in run.jobs} == AFTER_SPLIT
    assert finished.stored() == before
    # The tables for the hub follow the split.
    for name in ("train", "val", "test"):
        with (finished.data / name / "metadata.csv").open(newline="") as file:
            listed = [row["slice"] for row in csv.DictReader(file)]
        assert listed == [row["slice"] for row in read_table(finished.data / "manifest.tsv") if row["split"] == name]


def splits_of(workflow: Workflow) -> dict[str, str]:
    """Return the split of each patient."""
    return {row["patient"]: row["split"] for row in read_table(workflow.data / "manifest.tsv")}


def test_a_table_of_splits_is_an_input(workflow: Workflow) -> None:
    table = workflow.folder / "splits.tsv"
    table.write_text("patient\tsplit\npatient001\ttrain\npatient002\tval\n")
    workflow.configure(**workflow.configuration(), split={"scheme": "file", "file": "splits.tsv"})
    assert workflow.run().of("split") == [
        f"split as listed in splits.tsv (sha256 {hashlib.sha256(table.read_bytes()).hexdigest()})"
    ]
    assert splits_of(workflow) == {"patient001": "train", "patient002": "val"}
    assert {row["scheme"] for row in read_table(workflow.data / "manifest.tsv")} == {"file"}

    table.touch()
    assert workflow.run().jobs == []

    table.write_text("patient\tsplit\npatient001\tval\npatient002\ttest\n")
    os.utime(table, (0, 0))
    assert {job.split()[0] for job in workflow.run().jobs} == AFTER_SPLIT
    assert splits_of(workflow) == {"patient001": "val", "patient002": "test"}


EXPORTS = {
    "nnunet": "export for nnU-Net",
    "webdataset": "export shards for webdataset",
    "lists": "export lists for SSL4MIS",
    "structures": "export a dataset per structure",
    "automedsam": "export for AutoMedSAM",
    "medsam": "export arrays for MedSAM",
    "medsam2": "export volumes for MedSAM2",
    "sam_med2d": "export masks for SAM-Med2D",
    "zarr": "export embeddings for Zarr",
}


def test_an_export_is_made_again_only_if_the_dataset_changed(finished: Workflow, encoder: Any) -> None:
    assert finished.run(*EXPORTS).jobs == sorted(EXPORTS.values())
    (finished.folder / "data/exports/lists/val.list").unlink()
    assert finished.run(*EXPORTS).jobs == [EXPORTS["lists"]]
    write_cine(finished.raw / "training/patient001")
    finished.configure(encoder=encoder, exports={"medsam": {"dtype": "float32"}})
    assert finished.run(*EXPORTS).jobs == [EXPORTS["medsam"], EXPORTS["medsam2"]]
    assert (finished.folder / "data/exports/medsam2/train_videos.txt").exists()
    finished.configure(encoder=encoder, split={"seed": 7})
    assert set(finished.run(*EXPORTS).jobs) > set(EXPORTS.values())
