import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acdc_medsam.formats.files import Written, write_bytes, write_table
from acdc_medsam.formats.index import index_row, read_records, read_times, write_index, write_times
from acdc_medsam.formats.index_check import Findings, check_indexes, remove_damaged


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "c" / "index.tsv"
    files = [write_bytes(tmp_path / name, name.encode()) for name in ("a/one", "b/two")]
    write_index(path, [index_row(file, path) for file in files])
    return path


def check(*indexes: Path, read_all: bool = False) -> Findings:
    return check_indexes(indexes, root=Path("/"), read_all=read_all)


def change(path: Path, keep_time: bool = False) -> None:
    """Overwrite a byte in place."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    if keep_time:
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    else:
        os.utime(path, ns=(status.st_mtime_ns + 1, status.st_mtime_ns + 1))


def test_untouched_files_are_not_read(index: Path) -> None:
    assert check(index) == Findings()


def test_an_index_stays_intact_when_its_folder_is_moved(index: Path, tmp_path: Path) -> None:
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    assert check(moved / "c" / "index.tsv") == Findings()
    shutil.copytree(moved, tmp_path, copy_function=shutil.copyfile)  # without times
    findings = check(index)
    assert not findings.damaged and findings.read == 2
    for path, times in findings.times.items():
        write_times(path, times)
    assert check(index) == Findings(), "files are read only once"


HARMS: dict[str, Callable[[Path], None]] = {
    "overwritten": change,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "its folder deleted": lambda path: shutil.rmtree(path.parent),
    "replaced by another's file": lambda path: shutil.copyfile(path.parents[1] / "a/one", path),
    "a folder instead": lambda path: path.unlink() or path.mkdir(),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_file_is_detected(index: Path, tmp_path: Path, harm: str) -> None:
    victim = tmp_path / "b" / "two"
    HARMS[harm](victim)
    findings = check(index)
    assert list(findings.damaged) == [index] and list(findings.files) == [victim]
    remove_damaged(findings)
    assert not victim.is_file() and (tmp_path / "a/one").read_bytes() == b"a/one"


def test_damage_of_the_same_size_and_time_is_found_by_reading(index: Path, tmp_path: Path) -> None:
    change(tmp_path / "a/one", keep_time=True)
    assert check(index) == Findings()
    assert list(check(index, read_all=True).files) == [tmp_path / "a/one"]


@pytest.mark.parametrize("harm", ["overwritten", "truncated", "emptied"])
def test_a_damaged_index_is_detected_itself(index: Path, harm: str) -> None:
    HARMS[harm](index)
    findings = check(index)
    assert findings.files == {index: "is not as it was written"}
    remove_damaged(findings)
    assert not index.exists()
    assert check(index) == Findings(), "a missing index is left to Snakemake"


def test_a_damaged_table_is_detected(tmp_path: Path) -> None:
    table = tmp_path / "split.tsv"
    write_table(table, ["slice"], [{"slice": "a"}], sealed=True)
    assert check_indexes([], [table]) == Findings()
    change(table)
    assert list(check_indexes([], [table]).files) == [table]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"../a/one": [1]}', b'{"../a/one": 3}', b"\xff"])
def test_damaged_times_are_ignored(index: Path, content: bytes) -> None:
    (index.parent / ".index.tsv.times").write_bytes(content)
    assert read_times(index) == {}
    findings = check(index)
    assert findings.read == 2 and not findings.damaged


def test_hard_links_share_damage_and_are_both_removed(index: Path, tmp_path: Path) -> None:
    published = tmp_path / "d" / "index.tsv"
    link = tmp_path / "d" / "link"
    record, _ = read_records(index)[0]
    link.parent.mkdir()
    link.hardlink_to(record.path)
    write_index(published, [index_row(Written(link, record.bytes, record.sha256, record.mtime_ns), published)])
    change(link)
    findings = check(index, published)
    assert sorted(findings.files) == [record.path, link] and set(findings.damaged) == {index, published}
    remove_damaged(findings)
    assert not link.exists() and not record.path.exists()


def test_a_file_that_was_made_again_meanwhile_is_not_removed(index: Path, tmp_path: Path) -> None:
    change(tmp_path / "a/one")
    findings = check(index)
    write_bytes(tmp_path / "a/one", b"a/one")
    remove_damaged(findings)
    assert (tmp_path / "a/one").read_bytes() == b"a/one"


def test_a_check_changes_nothing(index: Path, tmp_path: Path) -> None:
    change(tmp_path / "a/one")
    (tmp_path / "b/two").touch()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()}
    check(index, read_all=True)
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("root", ["set", "set/", "./set", "a/../set"])
def test_an_index_that_names_files_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    """No file elsewhere is read, let alone removed."""
    monkeypatch.chdir(tmp_path)
    outside = write_bytes(Path("setting/precious"), b"precious")
    index = Path("set/work/index.tsv")
    write_index(index, [index_row(outside, index)])
    outside.path.write_bytes(b"another")
    findings = check_indexes([index], root=Path(root))
    assert list(findings.files) == [index] and "setting/precious, which is not below" in findings.files[index]
    remove_damaged(findings)
    assert not index.exists() and outside.path.read_bytes() == b"another"


def test_files_below_the_working_folder_are_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = write_bytes(Path("data/file"), b"x")
    for index in (Path("work/index.tsv"), Path("index.tsv")):
        write_index(index, [index_row(written, index)])
        assert check_indexes([index]) == Findings()
    elsewhere = write_bytes(Path("../elsewhere"), b"x")
    write_index(index, [index_row(elsewhere, index)])
    assert list(check_indexes([index]).files) == [index]
