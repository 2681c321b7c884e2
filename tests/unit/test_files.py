import contextlib
from pathlib import Path

import pytest

from acdc_medsam.errors import DatasetError
from acdc_medsam.files import (
    atomic_path,
    index_is_true,
    index_row,
    read_index_comments,
    read_table,
    remove_others,
    sha256_file,
    write_bytes,
    write_index,
    write_table,
)


def test_sha256_of_a_known_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "abc") == expected


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "old")]


def test_a_hard_link_keeps_its_content_when_the_file_is_replaced(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    write_bytes(path, b"old", read_only=True)
    link.hardlink_to(path)
    write_bytes(path, b"new", read_only=True)
    assert (path.read_bytes(), link.read_bytes()) == (b"new", b"old")
    assert not path.stat().st_mode & 0o222


def test_tables_keep_text_and_pass_comments_over(tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", ["a", "b"], [{"a": 1, "b": "two words"}], comments=["# remark"])
    assert read_table(tmp_path / "t.tsv") == [{"a": "1", "b": "two words"}]
    with pytest.raises(DatasetError, match=r"gone\.tsv is missing"):
        read_table(tmp_path / "gone.tsv")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    files = [tmp_path / "a" / "one", tmp_path / "b" / "two"]
    for file in files:
        write_bytes(file, file.name.encode())
    path = tmp_path / "c" / "index.tsv"
    path.parent.mkdir()
    write_index(path, [index_row(file, path) for file in files])
    return path


def test_an_index_is_true_wherever_its_folder_is_moved(index: Path, tmp_path: Path) -> None:
    assert index_is_true(index)
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    assert index_is_true(moved / "c" / "index.tsv")


DAMAGES = {
    "cut the index": lambda data: data[:-70],
    "another first line": lambda data: b"x" + data,
    "bytes that are no text": lambda data: data[:60] + b"\xff\xfe" + data[62:],
    "zeros": lambda data: bytes(len(data)),
    "no number": lambda data: data.replace(b"\t3\t", b"\tthree\t"),
    "a column more": lambda data: data.replace(b"\t3\t", b"\t3\t\t"),
}


@pytest.mark.parametrize("harm", ["delete", "shorten", "empty the index", "delete the folder", *DAMAGES])
def test_an_index_is_untrue_once_a_file_has_gone_or_changed(index: Path, tmp_path: Path, harm: str) -> None:
    victim = tmp_path / "b" / "two"
    if harm == "delete":
        victim.unlink()
    elif harm == "shorten":
        victim.write_bytes(b"t")
    elif harm == "empty the index":
        index.write_bytes(b"")
    elif harm in DAMAGES:
        index.write_bytes(DAMAGES[harm](index.read_bytes()))
        with contextlib.suppress(DatasetError):
            read_table(index)
    else:
        victim.unlink()
        victim.parent.rmdir()
    assert not index_is_true(index)


def test_an_index_says_what_its_files_were_made_from(index: Path) -> None:
    rows, sources = read_table(index), {"training/patient001/Info.cfg": "0" * 64, "my weights.pth": "1" * 64}
    write_index(index, rows, sources=sources)
    assert read_index_comments(index).sources == sources
    assert read_table(index) == rows and index_is_true(index)


def test_an_index_says_why_a_patient_is_left_out(tmp_path: Path) -> None:
    write_index(tmp_path / "index.tsv", [], left_out=["patient001: no\nrange"], notes=["a remark"])
    comments = read_index_comments(tmp_path / "index.tsv")
    assert comments.left_out == ("patient001: no range",)
    assert comments.notes == ("a remark",)
    assert index_is_true(tmp_path / "index.tsv")


def test_remove_others_keeps_what_is_named(tmp_path: Path) -> None:
    for name in ("keep", "old"):
        (tmp_path / name).touch()
    remove_others([tmp_path, tmp_path / "not there"], keep=[tmp_path / "keep"])
    assert [file.name for file in tmp_path.iterdir()] == ["keep"]
