import os
from pathlib import Path

import pytest

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.runtime import outside
from acdc_medsam.runtime.outside import OutsideFiles, require_announced


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    names = list[str]()

    def read_and_note(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(outside, "sha256_file", read_and_note)
    return names


def test_a_file_is_read_once_and_known_in_the_next_run(tmp_path: Path, read: list[str]) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    memory = tmp_path / "work" / "outside.json"
    for _ in range(3):
        files = OutsideFiles(memory)
        assert files.sha256(file) == sha256_file(file)
        files.save()
    assert read == ["file"]


def test_other_content_is_noticed_whatever_its_time(tmp_path: Path, read: list[str]) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    status = file.stat()
    files = OutsideFiles(tmp_path / "outside.json")
    first = files.sha256(file)
    file.write_bytes(b"abd")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert files.sha256(file) != first
    other = tmp_path / "other"
    other.write_bytes(b"abc")
    os.utime(other, (1e9, 1e9))
    other.rename(file)
    assert files.sha256(file) == first
    file.touch()
    assert files.sha256(file) == first
    assert len(read) == 4


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"file": 3}', b'{"file": [1]}', b"\xff"])
def test_a_damaged_memory_remembers_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "outside.json").write_bytes(content)
    (tmp_path / "file").write_bytes(b"abc")
    files = OutsideFiles(tmp_path / "outside.json")
    files.look([tmp_path / "file", tmp_path / "missing"])
    assert files.sha256(tmp_path / "file") == sha256_file(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        files.sha256(tmp_path / "missing")


def test_looking_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    OutsideFiles(tmp_path / "work/outside.json").look([tmp_path / "file"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_was_not_announced_is_refused(tmp_path: Path) -> None:
    require_announced(tmp_path, "a", "a")
    require_announced(tmp_path, "a", None)
    with pytest.raises(DatasetError, match="changed while the run was at work; run the same command again"):
        require_announced(tmp_path, "a", "b")
