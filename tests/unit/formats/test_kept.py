import os
from pathlib import Path

import pytest

from acdc_medsam.formats import kept as kept_module
from acdc_medsam.formats.files import take_record
from acdc_medsam.formats.kept import Kept, find_kept, keep, record_path

FACTS = {"encoder": "x", "versions": {"torch": "2"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ab" / "abc.pt"
    keep(path, b"content", FACTS)
    return path


def test_a_kept_file_is_found_with_its_facts(path: Path) -> None:
    found = find_kept(path)
    assert found is not None
    assert found.written == take_record(path) and found.facts == FACTS
    assert not path.stat().st_mode & 0o222


def test_a_file_whose_time_changed_is_read_once(path: Path) -> None:
    os.utime(path, (1e9, 1e9))
    before = record_path(path).read_bytes()
    found = find_kept(path)
    assert found is not None and found.written == take_record(path)
    after = record_path(path).read_bytes()
    assert after != before
    assert find_kept(path) == found and record_path(path).read_bytes() == after


@pytest.mark.parametrize("content", [b"Content", b"", b"content and more"])
def test_a_damaged_file_is_removed(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))
    assert find_kept(path) is None
    assert not path.exists() and not record_path(path).exists()
    assert "changed since it was made; it is made again" in caplog.text


@pytest.mark.parametrize("record", [None, b"", b"[]", b"{", b'{"bytes": 7}', b"\xff"])
def test_a_file_without_its_record_is_removed(path: Path, record: bytes | None) -> None:
    record_path(path).unlink()
    if record is not None:
        record_path(path).write_bytes(record)
    assert find_kept(path) is None
    assert not path.exists()


@pytest.mark.parametrize("content", [b"content", b"another", b"longer than that"])
def test_a_killed_writer_leaves_no_false_record(path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the process is killed between record and file, the record must not be taken for that of the earlier file."""

    def end(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    write_record = kept_module._write_record

    def write_and_be_killed(kept: Kept, record: Path) -> None:
        write_record(kept, record)
        monkeypatch.setattr(Path, "replace", end)

    monkeypatch.setattr(kept_module, "_write_record", write_and_be_killed)
    with pytest.raises(KeyboardInterrupt):
        keep(path, content, FACTS)
    monkeypatch.undo()
    found = find_kept(path)
    assert (found is not None and path.read_bytes() == b"content") == (content == b"content")
    assert path.exists() == (content == b"content")


def test_a_record_may_be_elsewhere(tmp_path: Path) -> None:
    path, record = tmp_path / "masks/scan.nii.gz", tmp_path / "scans/mask.json"
    kept = keep(path, b"mask", FACTS, record)
    assert find_kept(path, record) == kept and [*path.parent.iterdir()] == [path]
    os.utime(path)
    assert find_kept(path, record) is not None
    record.unlink()
    assert find_kept(path, record) is None and not path.exists()


def test_a_record_without_its_file_is_removed(path: Path) -> None:
    path.unlink()
    assert find_kept(path) is None
    assert not record_path(path).exists()


def test_a_file_that_was_never_kept_is_not_found(tmp_path: Path) -> None:
    assert find_kept(tmp_path / "none.pt") is None
    assert not list(tmp_path.iterdir())
