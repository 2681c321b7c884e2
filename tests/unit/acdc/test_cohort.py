import shutil
from pathlib import Path

import pytest

from acdc_medsam.acdc.cohort import count_raw_slices, find_cohort
from acdc_medsam.acdc.raw_nifti import read_patient
from acdc_medsam.errors import CohortError


@pytest.fixture
def cohort(raw: Path, tmp_path: Path) -> Path:
    return shutil.copytree(raw, tmp_path / "raw")


def test_a_sound_cohort(cohort: Path) -> None:
    cine = cohort / "training/patient001/patient001_4d.nii.gz"
    cine.touch()
    (cohort / "training/notes").mkdir()
    (cohort / "training/patientX").mkdir()
    found = find_cohort(cohort)
    assert [patient.name for patient in found.patients] == [f"patient{n:03d}" for n in (1, 2, 3, 4)]
    assert [patient.subset for patient in found.patients] == ["training"] * 3 + ["testing"]
    assert found.problems == {}
    assert count_raw_slices(found.patients) == 4 * 2 * 3
    assert [frame.phase for frame in found.patients[0].frames] == ["ED", "ES"]
    assert [patient.cine for patient in found.patients] == [cine, None, None, None]


def test_excluded_patients_are_not_checked(cohort: Path) -> None:
    (cohort / "training/patient002/Info.cfg").unlink()
    found = find_cohort(cohort, exclude=["patient002"])
    assert [patient.number for patient in found.patients] == [1, 3, 4]
    assert not found.problems and found.unknown == ()
    assert find_cohort(cohort, exclude=["patient020", "patient002"]).unknown == ("patient020",)


@pytest.mark.parametrize(
    "text",
    [
        "ED: 1\r\nES: 12\r\nGroup: DCM\r\nHeight: 170.0\r\nNbFrame: 30\r\nWeight: 75.0\r\n",
        "\ufeffED:1\nES :12\n Group:  dcm \nHeight:170.0\nWeight: 75.0",
    ],
)
def test_info_is_read_with_any_spacing_and_line_endings(cohort: Path, text: str) -> None:
    folder = cohort / "training/patient001"
    for stem in ("frame01", "frame01_gt", "frame12", "frame12_gt"):
        (folder / f"patient001_{stem}.nii.gz").touch()
    (folder / "Info.cfg").write_text(text, encoding="utf-8", newline="")
    patient = read_patient(folder)
    assert (patient.group, patient.height, patient.weight) == ("DCM", 170.0, 75.0)
    assert [frame.number for frame in patient.frames] == [1, 12]


def test_every_problem_is_reported_at_once(cohort: Path) -> None:
    training = cohort / "training"
    (training / "patient001/Info.cfg").unlink()
    info = training / "patient002/Info.cfg"
    lines = [line for line in info.read_text().splitlines() if not line.startswith(("ED", "ES", "Group"))]
    info.write_text("\n".join([*lines, "ES: late", "Group: ABC"]))
    frames = read_patient(training / "patient003").frames
    frames[0].image.unlink()
    frames[1].label.unlink()
    shutil.copytree(cohort / "testing/patient004", training / "patient004")
    problems = find_cohort(cohort).problems
    text = [line for lines in problems.values() for line in lines]
    expected = [
        "patient001: Info.cfg is missing",
        "patient002: Info.cfg: ED is missing",
        "patient002: Info.cfg: ES is 'late', which is not a frame number",
        "patient002: Info.cfg: Group is ABC",
        f"patient003: {frames[0].image.name} is missing",
        f"patient003: {frames[1].label.name} is missing",
        "patient004: two folders for one patient",
    ]
    assert len(text) == len(expected)
    for line, start in zip(text, expected, strict=True):
        assert line.startswith(start)
        assert ";" in line, "each line says what to do"


def test_ed_equal_to_es_is_refused(cohort: Path) -> None:
    info = cohort / "training/patient001/Info.cfg"
    ed = read_patient(info.parent).frames[0].number
    lines = [f"ES: {ed}" if line.startswith("ES") else line for line in info.read_text().splitlines()]
    info.write_text("\n".join(lines))
    with pytest.raises(CohortError, match="ED and ES are the same frame"):
        read_patient(info.parent)


def test_two_files_for_one_frame_are_refused(cohort: Path) -> None:
    image = read_patient(cohort / "training/patient001").frames[0].image
    image.with_suffix("").touch()
    with pytest.raises(CohortError, match=r"both \.nii\.gz and \.nii are there"):
        read_patient(cohort / "training/patient001")


def test_a_missing_raw_folder_names_the_source_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"(?s)looked in .*training.*humanheart-project.*make demo"):
        find_cohort(tmp_path / "nowhere")
    (tmp_path / "training").mkdir()
    with pytest.raises(CohortError, match="no patient in"):
        find_cohort(tmp_path)
