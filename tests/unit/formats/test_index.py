import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acdc_medsam.formats.files import Written, write_bytes, write_table
from acdc_medsam.formats.index import (
    Findings,
    check_indexes,
    index_row,
    read_index_comments,
    read_records,
    read_times,
    remove_damaged,
    write_index,
    write_times,
)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "c" / "index.tsv"
    files = [write_bytes(tmp_path / name, name.encode()) for name in ("a/one", "b/two")]
    write_index(path, [index_row(file, path) for file in files])
    return path


def look(*indexes: Path, read_all: bool = False) -> Findings:
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
    assert look(index) == Findings()


def test_an_index_is_whole_wherever_its_folder_is_moved(index: Path, tmp_path: Path) -> None:
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    assert look(moved / "c" / "index.tsv") == Findings()
    shutil.copytree(moved, tmp_path, copy_function=shutil.copyfile)  # without times
    findings = look(index)
    assert not findings.damaged and findings.read == 2
    for path, times in findings.times.items():
        write_times(path, times)
    assert look(index) == Findings(), "and is read once"


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
def test_a_file_that_is_not_what_was_made_is_noticed(index: Path, tmp_path: Path, harm: str) -> None:
    victim = tmp_path / "b" / "two"
    HARMS[harm](victim)
    findings = look(index)
    assert list(findings.damaged) == [index] and list(findings.files) == [victim]
    remove_damaged(findings)
    assert not victim.is_file() and (tmp_path / "a/one").read_bytes() == b"a/one"


def test_what_kept_its_size_and_time_is_found_by_reading_all(index: Path, tmp_path: Path) -> None:
    change(tmp_path / "a/one", keep_time=True)
    assert look(index) == Findings()
    assert list(look(index, read_all=True).files) == [tmp_path / "a/one"]


@pytest.mark.parametrize("harm", ["overwritten", "truncated", "emptied"])
def test_a_damaged_index_is_noticed_itself(index: Path, harm: str) -> None:
    HARMS[harm](index)
    findings = look(index)
    assert findings.files == {index: "is not as it was written"}
    remove_damaged(findings)
    assert not index.exists()
    assert look(index) == Findings(), "one that is not there is Snakemake's business"


def test_a_damaged_table_is_noticed(tmp_path: Path) -> None:
    table = tmp_path / "split.tsv"
    write_table(table, ["slice"], [{"slice": "a"}], sealed=True)
    assert check_indexes([], [table]) == Findings()
    change(table)
    assert list(check_indexes([], [table]).files) == [table]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"../a/one": [1]}', b'{"../a/one": 3}', b"\xff"])
def test_damaged_times_are_none(index: Path, content: bytes) -> None:
    (index.parent / ".index.tsv.times").write_bytes(content)
    assert read_times(index) == {}
    findings = look(index)
    assert findings.read == 2 and not findings.damaged


def test_hard_links_share_damage_and_are_both_removed(index: Path, tmp_path: Path) -> None:
    published = tmp_path / "d" / "index.tsv"
    link = tmp_path / "d" / "link"
    record, _ = read_records(index)[0]
    link.parent.mkdir()
    link.hardlink_to(record.path)
    write_index(published, [index_row(Written(link, record.bytes, record.sha256, record.mtime_ns), published)])
    change(link)
    findings = look(index, published)
    assert sorted(findings.files) == [record.path, link] and set(findings.damaged) == {index, published}
    remove_damaged(findings)
    assert not link.exists() and not record.path.exists()


def test_what_was_made_again_meanwhile_is_not_removed(index: Path, tmp_path: Path) -> None:
    change(tmp_path / "a/one")
    findings = look(index)
    write_bytes(tmp_path / "a/one", b"a/one")
    remove_damaged(findings)
    assert (tmp_path / "a/one").read_bytes() == b"a/one"


def test_looking_changes_nothing(index: Path, tmp_path: Path) -> None:
    change(tmp_path / "a/one")
    (tmp_path / "b/two").touch()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()}
    look(index, read_all=True)
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()
    }


def test_an_index_says_what_its_files_were_made_from_and_by(index: Path) -> None:
    rows = [index_row(written, index) for written, _ in read_records(index)]
    sources = {"training/patient001/Info.cfg": "0" * 64, "my weights.pth": "1" * 64}
    makers = {"abc": {"encoder": "x", "versions": {"torch": "2"}}}
    write_index(index, rows, sources=sources, makers=makers)
    comments = read_index_comments(index)
    assert (comments.sources, comments.makers) == (sources, makers)
    assert [index_row(written, index) for written, _ in read_records(index)] == rows
    assert look(index) == Findings()


def test_equal_files_give_equal_indexes_whenever_written(index: Path, tmp_path: Path) -> None:
    content = index.read_bytes()
    again = [write_bytes(tmp_path / name, name.encode()) for name in ("a/one", "b/two")]
    write_index(index, [index_row(file, index) for file in again])
    assert index.read_bytes() == content


def test_an_index_says_why_a_patient_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "index.tsv"
    write_index(path, [], left_out=["patient001: no\nrange"], notes=["a remark"])
    comments = read_index_comments(path)
    assert comments.left_out == ("patient001: no range",)
    assert comments.notes == ("a remark",)
    assert look(path) == Findings(left_out=[path])


@pytest.mark.parametrize("root", ["set", "set/", "./set", "a/../set"])
def test_an_index_that_names_files_elsewhere_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    """Nothing out there is read, let alone removed."""
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
