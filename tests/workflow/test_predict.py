"""Scans as a target: equal to evaluation, with unusable files, after damage, and without any dataset."""

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from acdc_medsam.acdc.naming import volume_name
from acdc_medsam.cli import main
from acdc_medsam.formats.files import read_table
from scans import evaluate_volume, write_model, write_scan
from workflow_run import Run, Workflow


@pytest.fixture
def predicting(tmp_path: Path, checkpoint: Path) -> Workflow:
    """A folder with a model and two scans, one of which cannot be used, but without ACDC."""
    workflow = Workflow(tmp_path / "run")
    write_scan(workflow.folder / "scans/small.nii.gz", (20, 16, 1))
    (workflow.folder / "scans/broken.nii.gz").write_bytes(b"no gzip")
    write_model(workflow.folder / "model.pth", checkpoint)
    workflow.configure(encoder={"name": "none"}, predict={"scans": "scans", "model": "model.pth"})
    return workflow


def test_a_finished_model_segments_scans_without_a_dataset(predicting: Workflow) -> None:
    masks = predicting.folder / "predictions/masks"
    run = predicting.run("predict", expect=1)
    assert run.of("accept", "measure", "prepare", "segment") == run.jobs
    assert "these scans could not be segmented. Mend or remove them" in run.output and "Traceback" not in run.output
    assert "scans/broken.nii.gz: broken.nii.gz: damaged gzip data" in run.output
    page = predicting.folder / "predictions/report.html"
    assert [path.name for path in masks.iterdir()] == ["small.nii.gz"] and "broken.nii.gz" in page.read_text()

    # To leave them out is decided anew, and then nothing is left to do.
    predicting.configure(**predicting.configuration(), on_invalid="exclude")
    assert predicting.run("predict").jobs == ["accept the predictions if every scan could be segmented"]
    assert predicting.run("predict").jobs == []

    # A damaged mask is made again. A further scan is prepared, and what is done is not done again.
    content = (masks / "small.nii.gz").read_bytes()
    (masks / "small.nii.gz").write_bytes(b"damaged")
    (predicting.folder / "scans/broken.nii.gz").unlink()
    run = predicting.run("predict")
    assert "small.nii.gz has 7 bytes" in run.output and run.of("prepare") == []
    assert (masks / "small.nii.gz").read_bytes() == content
    shutil.copy(predicting.folder / "scans/small.nii.gz", predicting.folder / "scans/another.nii.gz")
    assert predicting.run("predict").of("prepare") == ["prepare another"]
    log = predicting.folder / "work/logs/segment_scans/1-of-1.log"
    assert "segmented 1 scans, kept 1" in log.read_text()
    assert len(read_table(predicting.folder / "predictions/measurements.tsv")) == 2

    # Where there is a model but no dataset, the other targets say what is missing.
    assert "no ACDC data: looked in raw" in predicting.run(expect=1).output


def test_masks_equal_those_of_evaluation(
    finished_once: tuple[Workflow, Run, dict[str, Any]], predicting: Workflow, checkpoint: Path
) -> None:
    """To the voxel, for a raw frame of the dataset, whose stored embeddings evaluation uses."""
    finished = finished_once[0]
    row = next(row for row in read_table(finished.data / "manifest.tsv") if row["split"] == "val")
    name = volume_name(row["patient"], int(row["frame"]))
    volume = finished.folder / f"ACDC_training_volumes/{name}.h5"
    model = predicting.folder / "model.pth"
    evaluated = evaluate_volume(finished.data, "val", volume, model, checkpoint)
    assert len(np.unique(evaluated)) > 2, "something is found"

    out = predicting.folder / "out"
    frame = finished.raw / "training" / row["patient"] / f"{name}.nii.gz"
    assert main(["predict", "--model", str(model), "--out", str(out), str(frame)]) == 0
    np.testing.assert_array_equal(np.asarray(nib.load(out / f"masks/{name}.nii.gz").dataobj).T, evaluated)


def test_a_model_is_trained_for_the_scans(workflow: Workflow, checkpoint: Path) -> None:
    encoder = {"name": "lite_medsam", "checkpoint": str(checkpoint)}
    workflow.configure(encoder=encoder)
    assert "predict.scans in config.yaml must be the folder" in workflow.run("predict", expect=1).output
    write_scan(workflow.folder / "scans/small.nii.gz", (20, 16, 1))
    workflow.configure(encoder=encoder, predict={"scans": "scans"})
    planned = workflow.run("predict", "--dry-run").output
    assert "fine-tune the mask decoder" in planned and "prepare small" in planned
