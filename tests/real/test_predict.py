"""A raw frame of a real patient is segmented as evaluation segments its published volume."""

from pathlib import Path

import nibabel as nib
import numpy as np

from acdc_medsam.cli import main
from acdc_medsam.formats.files import read_table
from scans import evaluate_volume, write_model
from workflow_run import Run, Workflow


def test_a_raw_frame_gives_the_masks_of_evaluation(
    real: tuple[Workflow, Run], checkpoint: Path, tmp_path: Path
) -> None:
    workflow = real[0]
    patient = next(row["patient"] for row in read_table(workflow.data / "manifest.tsv") if row["split"] == "val")
    frames = [path for path in sorted(workflow.raw.rglob(f"{patient}_frame*.nii.gz")) if "_gt" not in path.name]
    model = write_model(tmp_path / "model.pth", checkpoint)
    # One of the two frames, because encoding a slice takes a second.
    frame = min(frames, key=lambda path: nib.load(path).shape[2])
    assert main(["predict", "--model", str(model), "--out", str(tmp_path / "out"), str(frame)]) == 0

    name = frame.name.removesuffix(".nii.gz")
    volume = workflow.folder / f"ACDC_training_volumes/{name}.h5"
    evaluated = evaluate_volume(workflow.data, "val", volume, model, checkpoint)
    mask = nib.load(tmp_path / f"out/masks/{name}.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj).T, evaluated)
    assert set(np.unique(evaluated)) == {0, 1, 2, 3} and np.array_equal(mask.affine, nib.load(frame).affine)
