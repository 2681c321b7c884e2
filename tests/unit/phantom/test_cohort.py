"""Synthetic patients: the same bytes every time, in ACDC's layout, with plausible hearts."""

from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.acdc.labels import GROUPS, LABELS
from acdc_medsam.acdc.raw_nifti import read_patient
from acdc_medsam.cli import main
from acdc_medsam.phantom.cohort import write_cohort
from acdc_medsam.stages.normalize import normalize_intensities

TINY = {"in_plane": (48, 40), "depth": 4}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny patients of each group."""
    folder = tmp_path_factory.mktemp("tiny")
    write_cohort(folder, patients=10, in_plane=(64, 56), depth=6)
    return folder


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One patient of a size drawn from its seed."""
    return write_cohort(tmp_path_factory.mktemp("full"), patients=1, first=4)[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def voxels(path: Path) -> np.ndarray:
    """Voxels (Z, H, W) in the file's own dtype."""
    return np.asanyarray(nib.load(path).dataobj).transpose(2, 1, 0)


def label_of(folder: Path, phase: str) -> np.ndarray:
    return next(voxels(frame.label) for frame in read_patient(folder).frames if frame.phase == phase)


def volume_ml(folder: Path, phase: str, structure: str) -> float:
    frame = next(frame for frame in read_patient(folder).frames if frame.phase == phase)
    voxel = np.prod(nib.load(frame.label).header.get_zooms()) / 1000
    return float((voxels(frame.label) == LABELS[structure]).sum() * voxel)


def neighbors(mask: np.ndarray) -> np.ndarray:
    """Voxels outside the mask that share an edge with it in their slice."""
    cross = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)
    return binary_dilation(mask, cross) & ~mask


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_cohort(tmp_path / name, patients=2, **TINY)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    write_cohort(tmp_path / "other", patients=2, seed=1, **TINY)
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


def test_gzip_headers_hold_neither_time_nor_name(full_size: Path) -> None:
    for path in full_size.glob("*.nii.gz"):
        header = path.read_bytes()[:8]
        assert header[3] == 0
        assert header[4:] == bytes(4)


def test_more_patients_change_no_other(tmp_path: Path) -> None:
    write_cohort(tmp_path / "few", patients=1, first=2, **TINY)
    write_cohort(tmp_path / "many", patients=3, **TINY)
    few = contents(tmp_path / "few")
    many = contents(tmp_path / "many")
    assert few.items() <= many.items()


def test_testing_patients_follow_the_training_patients(tmp_path: Path) -> None:
    folders = write_cohort(tmp_path, patients=2, first=7, testing=1, **TINY)
    assert [str(folder.relative_to(tmp_path)) for folder in folders] == [
        "training/patient007",
        "training/patient008",
        "testing/patient009",
    ]
    assert all(folder.is_dir() for folder in folders)


def test_the_cohort_is_one_that_the_workflow_accepts(cohort: Path) -> None:
    found = find_cohort(cohort)
    assert not found.problems
    assert [patient.group for patient in found.patients] == 2 * list(GROUPS)
    starts = {patient.frames[0].number for patient in found.patients}
    assert len(starts) > 1, "end-diastole must not always be frame 1"


def test_info_cfg_matches_the_files(cohort: Path) -> None:
    for folder in sorted((cohort / "training").iterdir()):
        lines = (folder / "Info.cfg").read_text().splitlines()
        info = dict(line.split(": ") for line in lines)
        assert list(info) == ["ED", "ES", "Group", "Height", "NbFrame", "Weight"]
        ed = int(info["ED"])
        es = int(info["ES"])
        assert 1 <= ed < es <= int(info["NbFrame"])
        assert 130 < float(info["Height"]) < 210
        assert 30 < float(info["Weight"]) < 130
        stems = {f"{folder.name}_frame{number:02d}{kind}.nii.gz" for number in (ed, es) for kind in ("", "_gt")}
        assert {path.name for path in folder.glob("*.nii.gz")} == stems


def test_each_group_has_integer_and_floating_point_images(cohort: Path) -> None:
    kinds = {(p.group, str(voxels(frame.image).dtype)) for p in find_cohort(cohort).patients for frame in p.frames}
    assert kinds == set(product(GROUPS, ("int16", "float32")))


def test_the_geometry_is_acdc_s(full_size: Path) -> None:
    for frame in read_patient(full_size).frames:
        image = nib.load(frame.image)
        label = nib.load(frame.label)
        assert image.shape == label.shape
        columns, rows, depth = image.shape
        assert columns != rows
        assert 154 <= min(columns, rows) <= max(columns, rows) <= 256
        assert 7 <= depth <= 12
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 0)
        zooms = np.array(image.header.get_zooms())
        assert np.allclose(nib.affines.voxel_sizes(image.affine), zooms)
        assert 1.2 <= zooms[0] == zooms[1] <= 1.9
        assert zooms[2] in (5, 10)
        assert label.get_data_dtype() == np.uint8


def test_images_can_be_normalized_and_show_blood_above_muscle(cohort: Path) -> None:
    for patient in find_cohort(cohort).patients:
        for frame in patient.frames:
            image = voxels(frame.image)
            label = voxels(frame.label)
            signal = normalize_intensities(image).image
            rv, muscle, lv = (np.median(signal[label == value]) for value in (1, 2, 3))
            assert muscle < 0.5 * min(rv, lv), (patient.name, frame.phase)


@pytest.mark.parametrize("phase", ["ED", "ES"])
def test_labels_are_complete(cohort: Path, phase: str) -> None:
    for folder in sorted((cohort / "training").iterdir()):
        label = label_of(folder, phase)
        assert set(np.unique(label)) == {0, 1, 2, 3}
        assert not label[0].any(), f"{folder.name}: a structure above the base"
        assert not label[-1].any(), f"{folder.name}: a structure below the apex"
        middle = label[2:4]
        assert all((part == value).any() for part in middle for value in (1, 2, 3))
        assert set(np.unique(label[neighbors(label == LABELS["LV"])])) == {LABELS["MYO"]}


def test_the_right_ventricle_lies_in_front_of_the_septum(full_size: Path) -> None:
    label = label_of(full_size, "ED")
    right, left = (np.argwhere(label == LABELS[name]).mean(axis=0) for name in ("RV", "LV"))
    # This image is upright, with the chest on the left.
    assert right[2] < left[2] - 5
    assert label[neighbors(label == LABELS["RV"])].max() == LABELS["MYO"]


def test_hearts_contract(cohort: Path) -> None:
    for folder in sorted((cohort / "training").iterdir()):
        ed, es = (volume_ml(folder, phase, "LV") for phase in ("ED", "ES"))
        assert es < 0.92 * ed, folder.name
        assert volume_ml(folder, "ES", "RV") < 0.92 * volume_ml(folder, "ED", "RV"), folder.name
        muscle = volume_ml(folder, "ES", "MYO") / volume_ml(folder, "ED", "MYO")
        assert 0.75 < muscle < 1.35, f"{folder.name}: muscle keeps its volume"


def test_groups_differ_as_their_pathology_does(cohort: Path) -> None:
    def mid_area(number: int, phase: str, structure: str) -> float:
        """Area of a structure in the middle of the heart in mm2."""
        folder = cohort / f"training/patient{number:03d}"
        pixel = nib.load(read_patient(folder).frames[0].label).header.get_zooms()[0]
        return float((label_of(folder, phase)[2] == LABELS[structure]).sum() * pixel**2)

    for start in (0, 5):
        dcm, hcm, minf, nor, rv = (start + 1 + index for index in range(5))
        assert mid_area(dcm, "ED", "LV") > 1.3 * mid_area(nor, "ED", "LV") > mid_area(hcm, "ED", "LV")
        assert mid_area(hcm, "ED", "MYO") > 1.3 * mid_area(nor, "ED", "MYO")
        assert mid_area(rv, "ED", "RV") > 1.2 * mid_area(nor, "ED", "RV")
        shortening = {n: mid_area(n, "ES", "LV") / mid_area(n, "ED", "LV") for n in (dcm, hcm, minf, nor)}
        assert shortening[hcm] < shortening[nor] < shortening[minf] < shortening[dcm]


@pytest.mark.parametrize("depth", [3, 4, 18])
def test_tiny_volumes_hold_all_structures(tmp_path: Path, depth: int) -> None:
    for folder in write_cohort(tmp_path, patients=5, in_plane=(32, 32), depth=depth):
        for phase in ("ED", "ES"):
            label = label_of(folder, phase)
            assert label.shape == (depth, 32, 32)
            assert set(np.unique(label)) == {0, 1, 2, 3}
            assert not label[-1].any()


def test_in_plane_is_given_in_the_file_s_order(tmp_path: Path) -> None:
    folder = write_cohort(tmp_path, patients=1, **TINY)[0]
    assert nib.load(read_patient(folder).frames[0].image).shape == (48, 40, 4)


@pytest.mark.parametrize("size", [{"in_plane": (16, 48)}, {"depth": 2}])
def test_sizes_that_cannot_hold_a_heart_are_refused(tmp_path: Path, size: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="too few"):
        write_cohort(tmp_path, patients=1, **size)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["phantom", str(tmp_path), "--patients", "0", "--testing", "1", "--seed", "5"])
    assert capsys.readouterr().out == f"synthetic patients written to {tmp_path}: 1\n"
    assert (tmp_path / "testing/patient001/Info.cfg").is_file()


def test_the_command_line_refuses_what_cannot_hold_a_heart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", str(tmp_path), "--depth", "2"]) == 2
    assert "too few" in capsys.readouterr().err
