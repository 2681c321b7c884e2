import os
from pathlib import Path

import pytest

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import (
    HashedFile,
    atomic_path,
    read_recorded,
    read_sealed,
    read_table,
    remove_others,
    sha256_file,
    take_record,
    write_bytes,
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


def test_tables_keep_text_and_skip_comments(tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", ["a", "b"], [{"a": 1, "b": "two words"}], comments=["# remark"])
    assert read_table(tmp_path / "t.tsv") == [{"a": "1", "b": "two words"}]
    with pytest.raises(DatasetError, match=r"gone\.tsv is missing"):
        read_table(tmp_path / "gone.tsv")


def test_a_record_describes_the_bytes_that_were_written(tmp_path: Path) -> None:
    written = write_bytes(tmp_path / "abc", b"abc", read_only=True)
    assert written == take_record(tmp_path / "abc")
    with atomic_path(tmp_path / "pieces") as temporary, temporary.open("wb") as handle:
        hashed = HashedFile(handle)
        hashed.write(b"a")
        hashed.write(memoryview(b"bc"))
        record = hashed.record(tmp_path / "pieces")
    assert record == take_record(tmp_path / "pieces")
    assert record.sha256 == written.sha256 == sha256_file(tmp_path / "abc")


def test_a_changed_or_missing_file_is_refused(tmp_path: Path) -> None:
    written = write_bytes(tmp_path / "abc", b"abc")
    assert read_recorded(written.path, written.sha256) == b"abc"
    written.path.write_bytes(b"abd")
    os.utime(written.path, ns=(written.mtime_ns, written.mtime_ns))
    with pytest.raises(DatasetError, match=r"abc has changed since it was made; `snakemake repair`"):
        read_recorded(written.path, written.sha256)
    written.path.unlink()
    with pytest.raises(DatasetError, match=r"abc has gone since it was made; `snakemake repair`"):
        read_recorded(written.path, written.sha256)


def damage_each_byte(data: bytes) -> list[bytes]:
    return [data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :] for index in range(len(data))]


def test_a_sealed_table_reveals_every_changed_byte(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    write_table(path, ["a", "b"], [{"a": 1, "b": "two words"}], comments=["# remark"], sealed=True)
    assert read_sealed(path) == read_table(path) == [{"a": "1", "b": "two words"}]
    data = path.read_bytes()
    for harmed in [*damage_each_byte(data), data[:-1], b"", bytes(len(data)), data + b"\n", data[70:]]:
        path.write_bytes(harmed)
        with pytest.raises(DatasetError, match=r"t\.tsv is damaged: run the workflow again"):
            read_sealed(path)
    path.unlink()
    with pytest.raises(DatasetError, match=r"t\.tsv is missing"):
        read_sealed(path)


def test_remove_others_keeps_the_given_files(tmp_path: Path) -> None:
    for name in ("keep", "old"):
        (tmp_path / name).touch()
    remove_others([tmp_path, tmp_path / "not there"], keep=[tmp_path / "keep"])
    assert [file.name for file in tmp_path.iterdir()] == ["keep"]
