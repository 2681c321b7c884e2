"""Faulty input: each fault is reported in words, and unusual but valid input gives the right result."""

import multiprocessing
import os
import re
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.acdc.raw_nifti import read_patient
from acdc_medsam.errors import AcdcError, CohortError, DatasetError, VolumeError
from acdc_medsam.formats.files import read_sealed, write_table
from acdc_medsam.formats.index import read_index_comments
from acdc_medsam.formats.nifti import read_nifti
from acdc_medsam.layout import SLICE_COLUMNS
from acdc_medsam.stages.normalize import normalize_patient
from acdc_medsam.stages.render import render_patient
from acdc_medsam.stages.split import split_dataset
from acdc_medsam.stages.split_rule import SplitRule
from faults import (
    COHORT_FAULTS,
    UNUSUAL,
    VOLUME_FAULTS,
    Fault,
    Files,
    copy_patient,
    edit_header,
    plain_normalized,
    plain_volume,
    rewrite,
    voxels,
)
from indexes import files_of, is_whole

REMEDY = re.compile(r"restore|correct|copy it|keep one|give the number|must be one of|are needed")


@pytest.fixture
def files(raw: Path, tmp_path: Path) -> Files:
    """A patient to damage, with a sound one beside it."""
    copy_patient(raw / "training/patient001", tmp_path / "raw/training/patient002")
    return copy_patient(raw / "training/patient001", tmp_path / "raw/training/patient001")


def assert_reported(message: str, fault: Fault, files: Files) -> None:
    """Check that a message names patient and file, and says what is wrong and what to do."""
    assert message.startswith(f"{files.folder.name}: ")
    assert fault.message in message
    assert REMEDY.search(message)
    if fault.file:
        assert getattr(files, fault.file).name.split(".nii")[0] in message


@pytest.mark.parametrize("fault", COHORT_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_in_the_folder_excludes_the_patient_with_a_reason(fault: Fault, files: Files) -> None:
    fault.damage(files)
    cohort = find_cohort(files.folder.parents[1])
    assert [patient.name for patient in cohort.patients] == ["patient002"], "the other one is kept"
    assert_reported("\n".join(cohort.problems["patient001"]), fault, files)


@pytest.mark.parametrize("fault", VOLUME_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_in_a_volume_is_an_error_or_excludes_the_patient(fault: Fault, files: Files) -> None:
    fault.damage(files)
    assert len(find_cohort(files.folder.parents[1]).patients) == 2, "only reading the voxels shows it"
    index = files.folder.parents[2] / "h5/index.tsv"
    with pytest.raises(VolumeError) as caught:
        normalize_patient(files.folder, index, 99, on_invalid="stop")
    assert_reported(str(caught.value), fault, files)
    assert str(caught.value).endswith("Or leave the patient out: 'on_invalid: exclude' in config.yaml")
    assert not index.exists()
    normalize_patient(files.folder, index, 99, on_invalid="exclude")
    assert files_of(index) == []
    assert_reported(read_index_comments(index).left_out[0], fault, files)


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_but_valid_input_gives_what_plain_numpy_gives(name: str, files: Files) -> None:
    UNUSUAL[name](files)
    cohort = find_cohort(files.folder.parents[1])
    assert cohort.problems == {}
    patient, sound = cohort.patients
    assert (patient.group, patient.height, patient.weight) == (sound.group, sound.height, sound.weight)
    index = files.folder.parents[2] / "h5/index.tsv"
    normalize_patient(files.folder, index, 99, on_invalid="stop")
    for frame in patient.frames:
        with h5py.File(index.parent / f"volumes/{frame.image.name.split('.')[0]}.h5") as file:
            np.testing.assert_array_equal(file["label"][:], plain_volume(frame.label))
            np.testing.assert_allclose(file["image"][:], plain_normalized(plain_volume(frame.image)), atol=1e-6)
            spacing = file.attrs["spacing"]
        np.testing.assert_allclose(spacing, np.abs(read_nifti(frame.image).spacing)[::-1])
    notes = read_index_comments(index).notes
    assert len(notes) == (1 if name == "sform against qform and pixdim" else 0)
    assert all("mm by pixdim, which is used, and 1 x 1 x 1 mm by the affine" in note for note in notes)


@pytest.mark.parametrize("size", [2**15 - 1, 500])
def test_no_memory_is_allocated_for_the_claims_of_a_header(size: int, files: Files) -> None:
    edit_header(files.image, dim=[3, size, size, size, 1, 1, 1, 1])
    tracemalloc.start()
    with pytest.raises(VolumeError):
        read_nifti(files.image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


@pytest.mark.parametrize(
    "name", ["Patient 1", "patient001 ", "patient\u0660\u0660\u0661", "patient", "..", "patient001;ls"]
)
def test_folders_of_other_names_are_no_patients(name: str, files: Files) -> None:
    if name != "..":
        shutil.copytree(files.folder, files.folder.with_name(name))
    assert [patient.name for patient in find_cohort(files.folder.parents[1]).patients] == ["patient001", "patient002"]


FORBIDDEN = {
    "raw/training/patient001/patient001_frame01.nii.gz": "patient001_frame01.nii.gz: cannot be read (Permission",
    "raw/training/patient001/Info.cfg": "patient001: Info.cfg cannot be read (Permission denied); correct its",
    "raw/training/patient001": "patient001: Info.cfg cannot be read (Permission denied); correct its permissions",
    "raw/training": "raw/training cannot be read (Permission denied); correct its permissions",
}


def read_all(folder: Path) -> list[str]:
    """Return the messages about a cohort, patient by patient."""
    try:
        cohort = find_cohort(folder / "raw")
        messages = [line for lines in cohort.problems.values() for line in lines]
        for patient in cohort.patients:
            normalize_patient(patient.folder, folder / "h5" / patient.name / "index.tsv", 99, on_invalid="exclude")
            messages += read_index_comments(folder / "h5" / patient.name / "index.tsv").left_out or [patient.name]
    except AcdcError as error:
        return [str(error)]
    return messages


def as_another_user(pipe: Connection, folder: Path) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    pipe.send(read_all(folder))


@pytest.mark.parametrize("path", FORBIDDEN)
def test_files_without_read_permission_are_reported(path: str, files: Files, tmp_path: Path) -> None:
    """Read as a user other than root, who can read everything, in a folder that, unlike pytest's, is open to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = shutil.copytree(tmp_path / "raw", Path(name) / "raw").parent
        (folder / "h5").mkdir()
        (folder / path).chmod(0)
        for part in (folder, folder / "h5"):
            part.chmod(0o777)
        ours, theirs = multiprocessing.Pipe()
        # Forked, because other users cannot run an interpreter in root's home.
        process = multiprocessing.get_context("fork").Process(target=as_another_user, args=(theirs, folder))
        process.start()
        assert ours.poll(60), "the process of the other user has ended without an answer"
        messages = ours.recv()
        process.join()
        (folder / path).chmod(0o755)
    assert FORBIDDEN[path] in messages[0]
    assert messages[1:] == ([] if path == "raw/training" else ["patient002"]), "the other one is kept"


def test_a_patient_without_frames_is_never_returned(files: Files) -> None:
    files.info.write_text("Group : NOR")
    with pytest.raises(CohortError, match="ED is missing"):
        read_patient(files.folder)


def render_changed(files: Files, change: Callable[[Any], Any]) -> tuple[Path, Path]:
    """Change all labels of a patient; return the index and the table of the rendered slices."""
    for label in files.folder.glob("*_gt.nii.gz"):
        rewrite(label, change(voxels(label)))
    h5 = files.folder.parents[2] / "h5/patient001"
    png = files.folder.parents[2] / "png/patient001"
    normalize_patient(files.folder, h5 / "index.tsv", 99, on_invalid="stop")
    render_patient(h5 / "index.tsv", png / "index.tsv", png / "slices.tsv", size=64, keep_empty=False)
    return png / "index.tsv", png / "slices.tsv"


def test_a_patient_without_any_structure_is_noted(files: Files) -> None:
    index, table = render_changed(files, np.zeros_like)
    assert read_sealed(table) == []
    assert read_index_comments(index).notes == (
        "patient001: no slice holds a structure, so none is kept; images.keep_empty keeps them",
    )
    assert is_whole(index), "or the patient would be made again by every run"
    with pytest.raises(DatasetError, match=r"no slice is left to make a dataset of: .*images\.keep_empty"):
        split_dataset([table], table.with_name("split.tsv"), SplitRule())


@pytest.mark.parametrize("unit", ["patient", "slice"])
def test_a_dataset_too_small_to_divide_goes_to_training(
    unit: str, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    only = np.zeros(voxels(files.label).shape, np.uint8)
    only[5:20, 5:20, 1] = 3
    _, table = render_changed(files, lambda label: only)
    slices = read_sealed(table)
    write_table(table, SLICE_COLUMNS, slices[:1] if unit == "slice" else slices, sealed=True)
    split_dataset([table], table.with_name("split.tsv"), SplitRule(unit=unit))
    assert {row["split"] for row in read_sealed(table.with_name("split.tsv"))} == {"train"}
    assert f"there are fewer than two training {unit}s to divide" in caplog.text
