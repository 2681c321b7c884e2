import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from acdc_medsam.errors import AcdcError
from acdc_medsam.runtime.run_lock import RunLock, remove_temporary_files

HOLD = """
import sys, time
from pathlib import Path
from acdc_medsam.runtime.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.hold()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    """Another run that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_second_run_is_told_who_is_at_work(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    lock = RunLock(tmp_path)
    assert not lock.is_free()
    holder = f"{tmp_path}: process {other.pid} on {socket.gethostname()}, since 2.*, is at work there; wait for its end"
    with pytest.raises(AcdcError, match=holder):
        lock.hold(patience=0.3)
    kill(other)


def test_the_lock_of_a_killed_run_is_free_and_tells_of_it(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    kill(other)
    lock = RunLock(tmp_path)
    assert lock.is_free()
    lock.hold()
    assert lock.after_failure
    assert not lock.is_free() and not RunLock(tmp_path).is_free()
    lock.end()


def test_the_run_after_one_that_succeeded_knows_it(tmp_path: Path) -> None:
    for _ in range(2):
        lock = RunLock(tmp_path)
        assert lock.is_free()
        lock.hold()
        assert not lock.after_failure
        lock.end()
    assert RunLock(tmp_path).is_free()
    assert {path.name for path in (tmp_path / "work").iterdir()} <= {"run.lock"}


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert RunLock(tmp_path / "output").is_free()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_gives_every_run_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    killed = RunLock(tmp_path)
    killed.hold(patience=0.3)
    lock = RunLock(tmp_path)
    assert lock.is_free()
    lock.hold(patience=0.3)
    assert lock.after_failure
    lock.end()
    assert RunLock(tmp_path).is_free()


def test_an_output_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    with pytest.raises(OSError) as error:
        RunLock(tmp_path).hold()
    assert error.value.filename == str(tmp_path / "work")


def test_half_written_files_are_removed_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    half, whole = tmp_path / "a/b/.ab12_xyz.index.tsv.tmp", tmp_path / "a/b/index.tsv"
    for path in (half, whole, tmp_path / "a/.short.tmp"):
        path.touch()
    assert remove_temporary_files([tmp_path / "a", tmp_path / "missing"]) == 1
    assert not half.exists() and whole.exists() and (tmp_path / "a/.short.tmp").exists()
