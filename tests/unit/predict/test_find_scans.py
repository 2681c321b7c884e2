"""Which files are scans, what they are called, and which job segments them."""

from pathlib import Path

import pytest

from acdc_medsam.errors import ConfigError
from acdc_medsam.predict.find_scans import Found, ScanFile, divide_scans, find_scans, require_scans


def make_files(folder: Path, *names: str) -> None:
    """Make empty files: only their names matter here."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_of(found: Found) -> list[str]:
    return [file.name for file in found.scans]


def test_scans_of_all_datasets_are_found_with_their_subjects(tmp_path: Path) -> None:
    make_files(
        tmp_path,
        *("patient001/patient001_4d.nii.gz", "patient001/patient001_frame01.nii.gz", "patient001/Info.cfg"),
        *("patient001/patient001_frame01_gt.nii.gz", "A0S9V9/A0S9V9_sa.nii.gz", "A0S9V9/A0S9V9_sa_gt.nii.gz"),
        *("001/001_SA_ED.nii.gz", "001/001_LA_ED.nii.gz", "001/001_SA_CINE.nii", "my heart!.nii", "notes.txt"),
        *(".hidden.nii", ".trash/old.nii", "out/masks/patient001_4d.nii.gz"),
    )
    found = find_scans([tmp_path, tmp_path / "001/001_SA_ED.nii.gz"], tmp_path / "out")
    assert {file.name: file.subject for file in found.scans} == {
        "001_SA_CINE": "001",
        "001_SA_ED": "001",
        "A0S9V9_sa": "A0S9V9",
        "my_heart": "my_heart",
        "patient001_4d": "patient001",
        "patient001_frame01": "patient001",
    }
    assert len(found.passed_over) == 3 and found.failed == {}
    # Of what a user names, nothing is passed over.
    assert names_of(find_scans([tmp_path / "001/001_LA_ED.nii.gz"], tmp_path / "out")) == ["001_LA_ED"]


def test_what_is_no_scan_is_named_and_the_others_are_found(tmp_path: Path) -> None:
    make_files(tmp_path, "a/one.nii", "b/one.nii.gz", "b/two.nii", "empty/notes.txt", "c/__.nii")
    found = find_scans([tmp_path / name for name in ("a", "b", "c", "empty", "none")], tmp_path / "out")
    assert names_of(found) == ["two"]
    assert set(found.failed) == {
        str(tmp_path / name) for name in ("a/one.nii", "b/one.nii.gz", "c/__.nii", "empty", "none")
    }
    assert "2 scans would be named one: " in found.failed[str(tmp_path / "a/one.nii")]
    assert "there is no NIfTI file in this folder" in found.failed[str(tmp_path / "empty")]
    assert "there is no such file or folder" in found.failed[str(tmp_path / "none")]

    with pytest.raises(ConfigError, match="no scan to segment in none"):
        require_scans("none", find_scans([tmp_path / "none"], tmp_path))
    with pytest.raises(ConfigError, match=r"predict\.scans in config.yaml must be the folder"):
        require_scans(None, Found((), {}, ()))


def test_phases_come_from_names_and_from_info(tmp_path: Path) -> None:
    make_files(tmp_path, "Info.cfg")

    def phases(name: str, frames: int) -> tuple[str | None, ...]:
        return ScanFile(tmp_path / name, "name", "subject").phases(frames)

    assert phases("001_SA_ES.nii.gz", 1) == ("ES",)
    assert phases("001_SA_ES.nii.gz", 2) == (None, None)
    assert phases("patient001_4d.nii.gz", 2) == (None, None), "Info.cfg is empty"
    (tmp_path / "Info.cfg").write_text("ED: 02\nES: 3\n")
    assert phases("patient001_4d.nii.gz", 4) == (None, "ED", "ES", None)
    assert phases("patient001_frame03.nii.gz", 1) == ("ES",)
    assert phases("A0S9V9_sa.nii.gz", 3) == (None, None, None), "not ACDC's"


def test_a_further_scan_leaves_the_others_in_their_parts() -> None:
    names = [f"scan{number}" for number in range(60)]
    before = divide_scans(names)
    assert set(before) == {f"{number}-of-4" for number in range(1, 5)}
    assert sorted(name for part in before.values() for name in part) == sorted(names)

    after = divide_scans([*names, "new"])
    assert {part: [name for name in scans if name != "new"] for part, scans in after.items()} == before
    # With more than 64, each part is divided in two.
    many = divide_scans([*names, *(f"more{number}" for number in range(5))])
    halves = {frozenset(name for name in part if name in names) for part in many.values()}
    assert all(any(half <= set(part) for part in before.values()) for half in halves) and len(many) == 8
    assert divide_scans(["one"]) == {"1-of-1": ["one"]}
    assert before["1-of-4"][:3] == ["scan14", "scan16", "scan19"], "as in every process"
