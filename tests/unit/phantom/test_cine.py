"""The heart beat of a synthetic patient: its files, its course, and its volumes."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.cli import main
from acdc_medsam.formats.files import read_table
from acdc_medsam.phantom import cohort
from acdc_medsam.phantom.cine import CardiacCycle
from acdc_medsam.phantom.cohort import write_cohort

SIZE = {"in_plane": (40, 36), "depth": 4}


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny patient with a cine, whose end-diastole is frame 4."""
    return write_cohort(tmp_path_factory.mktemp("cine"), patients=1, first=10, cine=True, **SIZE)[0]


def voxels(path: Path) -> np.ndarray:
    """Voxels (Z, H, W) or (T, Z, H, W)."""
    return np.asanyarray(nib.load(path).dataobj).T


def test_the_other_files_are_the_same_without_a_cine(patient: Path, tmp_path: Path) -> None:
    plain = write_cohort(tmp_path, patients=1, first=10, **SIZE)[0]
    files = {path.name for path in plain.iterdir()}
    added = {path.name for path in patient.iterdir()} - files
    assert added == {f"patient010_4d{ending}" for ending in (".nii.gz", "_gt.nii.gz", "_truth.tsv")}
    assert all((plain / name).read_bytes() == (patient / name).read_bytes() for name in files)


@pytest.mark.parametrize("ending", ["", "_gt"])
def test_the_single_frames_are_those_of_the_cine(patient: Path, ending: str) -> None:
    info = dict(line.split(": ") for line in (patient / "Info.cfg").read_text().splitlines())
    cine = nib.load(patient / f"patient010_4d{ending}.nii.gz")
    frames = voxels(patient / f"patient010_4d{ending}.nii.gz")
    assert len(frames) == int(info["NbFrame"]) and cine.header.get_xyzt_units() == ("mm", "sec")
    assert cine.header.get_zooms()[3] * len(frames) == pytest.approx(0.92)
    for phase in ("ED", "ES"):
        single = patient / f"patient010_frame{int(info[phase]):02d}{ending}.nii.gz"
        assert (frames[int(info[phase]) - 1] == voxels(single)).all()
        assert (cine.affine == nib.load(single).affine).all() and cine.get_data_dtype() == frames.dtype


def test_the_truth_names_the_phases_and_follows_the_masks(patient: Path) -> None:
    truth = read_table(patient / "patient010_4d_truth.tsv")
    labels = voxels(patient / "patient010_4d_gt.nii.gz")
    assert {row["phase"]: row["frame"] for row in truth if row["phase"]}["ED"] == "4"
    voxel = np.prod(nib.load(patient / "patient010_4d_gt.nii.gz").header.get_zooms()[:3]) / 1000
    for structure, value in LABELS.items():
        drawn = (labels == value).sum((1, 2, 3)) * voxel
        true = np.array([float(row[f"{structure.lower()}_slices_ml"]) for row in truth])
        # A pixel of 5 mm is a tenth of the ventricle.
        assert np.abs(drawn - true).max() < 0.12 * true.max(), structure


def test_the_course_of_a_beat() -> None:
    shares = np.array(CardiacCycle(ed=4, es=12, frames=25).contractions())
    assert shares[3] == 0 and shares[11] == 1
    assert ((np.delete(shares, [3, 11]) > 0) & (np.delete(shares, [3, 11]) < 1)).all()
    # Contraction and filling are each one way, also over the end of the cine.
    course = np.roll(shares, -3)
    assert (np.diff(course[:9]) > 0).all() and (np.diff(course[8:]) < 0).all()


def test_the_command_line_asks_for_cines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[object]()
    monkeypatch.setattr(cohort, "write_cohort", lambda *_, cine, **__: asked.append(cine) or [])
    assert main(["phantom", str(tmp_path), "--cine"]) == main(["phantom", str(tmp_path)]) == 0
    assert asked == [True, False]
