import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acdc_medsam.acdc.cohort import H5, NIFTI, count_raw_slices, find_cohort
from acdc_medsam.acdc.raw_h5 import H5Patient
from acdc_medsam.errors import CohortError


def volumes_of(folder: Path, patient: str) -> list[Path]:
    return sorted(folder.glob(f"ACDC_*_volumes/{patient}_*"))


def slices_of(folder: Path, patient: str) -> list[Path]:
    return sorted(folder.glob(f"ACDC_*_slices/{patient}_*"))


@pytest.mark.parametrize("left", ["volumes", "slices", "both"])
def test_patients_are_found_in_volumes_in_slices_and_in_both(h5_folder: Path, left: str) -> None:
    for kind in {"volumes": ["slices"], "slices": ["volumes"], "both": []}[left]:
        for path in h5_folder.glob(f"ACDC_*_{kind}"):
            shutil.rmtree(path)
    found = find_cohort(h5_folder)
    assert found.kind == H5 and not found.problems
    assert [patient.name for patient in found.patients] == [f"patient{n:03d}" for n in (1, 2, 3, 4)]
    assert [patient.subset for patient in found.patients] == ["training"] * 3 + ["testing"]
    assert count_raw_slices(found.patients) == 4 * 2 * 3
    assert {len(patient.sources) for patient in found.patients} == {{"volumes": 2, "slices": 6, "both": 8}[left]}


def test_the_files_may_stand_in_the_raw_folder_itself(h5_folder: Path) -> None:
    assert [patient.subset for patient in find_cohort(h5_folder / "ACDC_training_slices").patients] == ["training"] * 3
    assert [patient.subset for patient in find_cohort(h5_folder / "ACDC_testing_volumes").patients] == ["testing"]


def test_other_files_are_ignored_and_excluded_patients_are_not_checked(h5_folder: Path) -> None:
    (h5_folder / "ACDC_training_volumes/patient001_frame1.h5").touch()
    (h5_folder / "ACDC_training_volumes/train.list").touch()
    volumes_of(h5_folder, "patient002")[0].rename(h5_folder / "ACDC_training_volumes/patient002_frame99.h5")
    found = find_cohort(h5_folder, exclude=["patient002", "patient009"])
    assert [patient.number for patient in found.patients] == [1, 3, 4]
    assert not found.problems and found.unknown == ("patient009",)


def test_nifti_and_h5_files_in_one_folder_are_refused(h5_folder: Path, raw: Path) -> None:
    shutil.copytree(raw / "training", h5_folder / "training")
    with pytest.raises(CohortError, match=r"holds NIfTI files .* and H5 files \(ACDC_t\w+/\)"):
        find_cohort(h5_folder)


def test_published_files_in_the_output_folder_are_no_input(h5_folder: Path, raw: Path) -> None:
    with pytest.raises(CohortError, match="would be replaced"):
        find_cohort(h5_folder, output=h5_folder)
    with pytest.raises(CohortError, match="would be replaced"):
        find_cohort(h5_folder / "ACDC_training_volumes", output=h5_folder)
    shutil.copytree(raw / "training", h5_folder / "training")
    assert find_cohort(h5_folder, output=h5_folder).kind == NIFTI
    assert find_cohort(raw, output=h5_folder).kind == NIFTI


def remove_a_frame(folder: Path) -> None:
    for path in (volumes_of(folder, "patient001")[0], *slices_of(folder, "patient001")[:3]):
        path.unlink()


def add_a_frame(folder: Path) -> None:
    shutil.copy(volumes_of(folder, "patient001")[0], folder / "patient001_frame30.h5")


def remove_a_volume_and_a_slice(folder: Path) -> None:
    volumes_of(folder, "patient001")[0].unlink()
    slices_of(folder, "patient001")[1].unlink()


def copy_to_testing(folder: Path) -> None:
    shutil.copy(volumes_of(folder, "patient001")[0], folder / "ACDC_testing_volumes")


def copy_under_another_spelling(folder: Path) -> None:
    volume = volumes_of(folder, "patient001")[0]
    shutil.copy(volume, volume.with_name(volume.name.replace("patient001", "patient0001")))


def copy_to_the_raw_folder(folder: Path) -> None:
    shutil.copy(volumes_of(folder, "patient001")[0], folder)


def state_an_unknown_group(folder: Path) -> None:
    (folder / "patients.tsv").write_text("patient\tgroup\npatient001\tdcm\n")


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (remove_a_frame, r"H5 files of 1 frames \(\d+\); keep those of two"),
        (add_a_frame, "H5 files of 3 frames"),
        (remove_a_volume_and_a_slice, r"patient001_frame\d+_slice_1\.h5 is missing: .* add it, or patient001_frame\d+"),
        (copy_to_testing, "H5 files of two patients with this number, in .*ACDC_testing_volumes and .*ACDC_training"),
        (copy_under_another_spelling, "H5 files of two patients with this number"),
        (copy_to_the_raw_folder, r"two files patient001_frame\d+\.h5: .* and .*; keep one of them"),
        (state_an_unknown_group, "patients.tsv: group is 'dcm'; it must be one of DCM"),
    ],
)
def test_a_defect_is_named_and_the_others_are_usable(
    h5_folder: Path, plant: Callable[[Path], None], message: str
) -> None:
    plant(h5_folder)
    found = find_cohort(h5_folder)
    assert {patient.number for patient in found.patients} == {2, 3, 4}
    ((_, lines),) = found.problems.items()
    assert any(re.search(message, line) for line in lines), lines


def test_stated_facts_belong_to_their_patient(h5_folder: Path) -> None:
    (h5_folder / "patients.tsv").write_text("patient\tgroup\tspacing\npatient002\tHCM\t\npatient050\tNOR\t\n")
    facts = {
        patient.name: patient.facts for patient in find_cohort(h5_folder).patients if isinstance(patient, H5Patient)
    }
    assert facts == {"patient001": {}, "patient002": {"group": "HCM"}, "patient003": {}, "patient004": {}}
