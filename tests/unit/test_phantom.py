import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from acdc_medsam.cohort import find_cohort
from acdc_medsam.dataset import GROUPS, LABELS
from acdc_medsam.phantom import phase_levels, write_cohort


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients of moderate size."""
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(folder, patients=10, in_plane=(100, 120), depth=8)
    return folder


def labels(cohort: Path) -> dict[tuple[str, str], list[np.ndarray]]:
    """(group, phase) -> label volumes (X, Y, Z)."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for patient in find_cohort(cohort).patients:
        for frame in patient.frames:
            volume = np.asanyarray(nib.load(frame.label).dataobj)
            found.setdefault((patient.group, frame.phase), []).append(volume)
    return found


def test_the_same_bytes_whatever_else_is_written(tmp_path: Path) -> None:
    for name, patients in (("two", 2), ("three", 3)):
        write_cohort(tmp_path / name, patients=patients, in_plane=(48, 40), depth=4)
    write_cohort(tmp_path / "last", patients=1, first=3, in_plane=(48, 40), depth=4)
    two, three, last = (digests(tmp_path / name) for name in ("two", "three", "last"))
    assert two | last == three
    write_cohort(tmp_path / "other", patients=2, seed=1, in_plane=(48, 40), depth=4)
    assert digests(tmp_path / "other").items().isdisjoint(two.items())


def test_a_cohort_is_sound_and_varied(cohort: Path) -> None:
    found = find_cohort(cohort)
    assert not found.problems
    groups = [patient.group for patient in found.patients]
    assert {group: groups.count(group) for group in groups} == dict.fromkeys(GROUPS, 2)
    kinds = {(p.group, nib.load(p.frames[0].image).get_data_dtype().name) for p in found.patients}
    assert kinds == {(group, kind) for group in GROUPS for kind in ("int16", "float32")}


def test_drawn_sizes_are_acdc_s(tmp_path: Path) -> None:
    patients = write_cohort(tmp_path, patients=3)
    shapes = {nib.load(next(patient.glob("*_gt.nii.gz"))).shape for patient in patients}
    assert len(shapes) > 1
    for x, y, z in shapes:
        assert 150 <= x <= 256 and 200 <= y <= 256 and 8 <= z <= 11


def test_headers_are_like_acdc_s(cohort: Path) -> None:
    image = nib.load(find_cohort(cohort).patients[0].frames[0].image)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert (image.header["qform_code"], image.header["sform_code"]) == (1, 0)
    assert image.header.get_zooms() == pytest.approx((3.4, 3.4, 10.0)) or image.header.get_zooms()[2] == 5


def test_the_left_ventricle_lies_within_its_wall(cohort: Path) -> None:
    for volumes in labels(cohort).values():
        for volume in volumes:
            assert set(np.unique(volume)) == {0, *LABELS.values()}
            for z in range(volume.shape[2]):
                cavity = volume[..., z] == LABELS["LV"]
                around = binary_dilation(cavity) & ~cavity
                assert set(np.unique(volume[..., z][around])) <= {LABELS["MYO"]}


def test_end_slices_hold_no_structure(cohort: Path) -> None:
    for (_, phase), volumes in labels(cohort).items():
        for volume in volumes:
            filled = volume.any(axis=(0, 1)).tolist()
            assert filled == [False, phase == "ED", *[True] * 5, False]


@pytest.mark.parametrize(("depth", "systole", "inside"), [(2, False, 1), (3, False, 2), (4, True, 2), (10, True, 7)])
def test_levels_run_from_base_to_apex(depth: int, systole: bool, inside: int) -> None:
    levels = phase_levels(depth, systole)
    assert len(levels) == depth
    assert levels == sorted(levels)
    assert sum(0 < level < 1 for level in levels) == inside


def test_hearts_contract_and_groups_differ_as_their_pathologies_do(cohort: Path) -> None:
    found = labels(cohort)

    def size(group: str, phase: str, structure: str) -> float:
        return float(np.mean([(volume == LABELS[structure]).sum() for volume in found[group, phase]]))

    for group in GROUPS:
        assert size(group, "ES", "LV") < size(group, "ED", "LV")
    fraction = {group: 1 - size(group, "ES", "LV") / size(group, "ED", "LV") for group in GROUPS}
    assert fraction["DCM"] == min(fraction.values())
    assert size("DCM", "ED", "LV") > size("NOR", "ED", "LV") > size("HCM", "ED", "LV")
    assert size("HCM", "ED", "MYO") > size("NOR", "ED", "MYO") > size("MINF", "ED", "MYO") * 0.8
    assert size("RV", "ED", "RV") > 1.2 * size("NOR", "ED", "RV")
