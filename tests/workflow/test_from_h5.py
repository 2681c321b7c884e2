"""Runs that start from the H5 files of other repositories, in the output of runs that started from NIfTI files."""

import gzip
import json
import shutil
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np

from acdc_medsam.formats.files import read_table
from acdc_medsam.layout import GROUP_ASSUMED, PHASE_INFERRED
from published_h5 import change, write_published
from workflow_run import Workflow


def pictures(workflow: Workflow) -> dict[str, bytes]:
    """Return the content of every published image and mask; the split depends on the patients' groups."""
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in workflow.data.glob("*/*/*.png")}


def from_h5(workflow: Workflow) -> Path:
    """Replace the NIfTI files of a workflow by published H5 files, and return their folder."""
    folder = write_published(workflow.raw, workflow.folder / "h5")
    shutil.rmtree(workflow.raw)
    return folder.rename(workflow.raw)


def test_images_are_the_same_and_nothing_is_encoded_again(small_run: Workflow) -> None:
    before = pictures(small_run)
    stored = small_run.stored()
    raw = from_h5(small_run)

    run = small_run.run()
    assert "ACDC to MedSAM, from H5 files: 2 patients, 4 volumes, 8 slices" in run.output
    assert run.of("adopt", "normalize") == ["adopt patient001", "adopt patient002"]
    assert pictures(small_run) == before and small_run.stored() == stored
    rows = read_table(small_run.data / "manifest.tsv")
    assert {row["notes"] for row in rows} == {f"{PHASE_INFERRED}; {GROUP_ASSUMED}"}
    assert {(row["group"], row["spacing"]) for row in rows} == {("DCM", "")}

    page = (small_run.data / "report.html").read_text()
    assert f"{PHASE_INFERRED} (2 patients)" in page and "areas are in pixels" in page
    origins = json.loads((small_run.data / "provenance.json").read_text())["origins"]
    volume = next(name for name in origins if name.startswith("ACDC_training_volumes/patient002"))
    assert origins[volume]["from"][0] == f"raw/{volume}" and len(origins[volume]["from"]) == 4

    assert small_run.run().jobs == []
    changed = sorted((raw / "ACDC_training_volumes").glob("patient002_*"))[0]
    for path in (raw / "ACDC_training_slices").glob(f"{changed.stem}_*"):
        path.unlink()
    change(changed, lambda arrays: {**arrays, "image": np.clip(arrays["image"] + 0.05, 0, 1)})
    again = small_run.run()
    assert again.of("adopt", "render") == ["adopt patient002", "render patient002"]
    assert len(again.of("embed")) == 1 and pictures(small_run).keys() == before.keys()


def test_stated_facts_remake_only_their_patient_and_allow_nnunet(workflow: Workflow) -> None:
    raw = from_h5(workflow)
    refused = workflow.run("nnunet", expect=1)
    assert "its spacing is unknown, and nnU-Net plans its networks by the spacing" in refused.output
    assert "Traceback" not in refused.output

    lines = [f"{patient}\tNOR\t10 1.5 1.25\n" for patient in ("patient001", "patient002")]
    (raw / "patients.tsv").write_text("".join(["patient\tgroup\tspacing\n", *lines]))
    workflow.run("nnunet")
    rows = read_table(workflow.data / "manifest.tsv")
    assert {(row["group"], row["spacing"]) for row in rows} == {("NOR", "10 1.5 1.25")}
    images = sorted((workflow.folder / "data/exports/nnunet/Dataset027_ACDC").glob("images*/*.nii.gz"))
    assert len(images) == 4
    for path in images:
        image = nib.load(path)
        assert image.header.get_zooms() == (1.25, 1.5, 10)
        volume = workflow.folder / f"ACDC_training_volumes/{path.name.removesuffix('_0000.nii.gz')}.h5"
        with h5py.File(volume) as file:
            np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, file["image"][:])

    (raw / "patients.tsv").write_text("".join(["patient\tgroup\tspacing\n", lines[0], lines[1].replace("NOR", "RV")]))
    assert workflow.run().of("adopt") == ["adopt patient002"]


def test_unusable_patients_stop_the_run_or_are_left_out(workflow: Workflow) -> None:
    raw = from_h5(workflow)
    volume = sorted((raw / "ACDC_training_volumes").glob("patient001_*"))[0]
    volume.write_bytes(gzip.compress(volume.read_bytes()))
    run = workflow.run(expect=1)
    assert f"patient001: {volume.name}: not a readable H5 file" in run.output and "Traceback" not in run.output

    workflow.configure(**workflow.configuration(), on_invalid="exclude")
    workflow.run()
    quality = json.loads((workflow.data / "quality.json").read_text())
    assert quality["passed"] and volume.name in quality["left_out"][0]
    assert {row["patient"] for row in read_table(workflow.data / "manifest.tsv")} == {"patient002"}


def test_both_kinds_in_one_folder_are_refused_before_any_job(workflow: Workflow) -> None:
    write_published(workflow.raw, workflow.raw)
    run = workflow.run(expect=1)
    assert "holds NIfTI files (training/ or testing/) and H5 files" in run.output and "Traceback" not in run.output
