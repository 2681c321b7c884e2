"""Sharing of GPUs among jobs by locks. The tests need no GPU, because the locks have any names."""

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from acdc_medsam.encoders import devices
from acdc_medsam.encoders.devices import claimed, claimed_device, lock_folder
from acdc_medsam.errors import AcdcError, ConfigError

HOLDER = """
import sys, time
from pathlib import Path
from acdc_medsam.encoders.devices import claimed
with claimed(["a", "b"], Path(sys.argv[1])) as index:
    print(index, flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Start a process that holds one of two locks until it is killed."""
    paths = [path for path in sys.path if path]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{HOLDER}", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def held_by(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_each_job_gets_a_lock_that_no_running_job_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "POLL_SECONDS", 0.05)
    holders = []
    try:
        holders.append(hold(tmp_path))
        assert held_by(holders[0]) == 0
        with claimed(["a", "b"], tmp_path) as index:
            assert index == 1
        holders.append(hold(tmp_path))
        assert held_by(holders[1]) == 1
        holders[0].kill()
        with claimed(["a", "b"], tmp_path) as index:
            assert index == 0
    finally:
        for process in holders:
            process.kill()
            process.communicate()


def test_a_job_without_a_free_lock_waits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    holder = hold(tmp_path)
    assert held_by(holder) == 0

    def poll(seconds: float) -> None:
        holder.kill()
        holder.communicate()

    monkeypatch.setattr(time, "sleep", poll)
    with claimed(["a"], tmp_path) as index:
        assert index == 0
    assert "waiting for a, which other jobs hold" in caplog.text


def test_without_a_gpu_auto_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for name in ("auto", "cpu"):
        with claimed_device(name) as device:
            assert device.type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:2"])
def test_a_gpu_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 if name == "cuda:2" else 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    message = rf"encoder\.device: {name}, .* among CUDA_VISIBLE_DEVICES=5,6"
    with pytest.raises(ConfigError, match=message), claimed_device(name):
        pass


def test_two_jobs_get_two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        def __init__(self, gpu: int) -> None:
            self.uuid = f"serial-{gpu}"

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    with claimed_device("auto") as first, claimed_device("cuda") as second:
        assert (first, second) == (torch.device("cuda:0"), torch.device("cuda:1"))
    with claimed_device("cuda:1") as device:
        assert device == torch.device("cuda:1")
    [folder] = tmp_path.iterdir()
    assert folder == lock_folder(tmp_path)
    assert {path.name for path in folder.iterdir()} <= {"gpu-serial-0.lock", "gpu-serial-1.lock"}


NAME = f"acdc-medsam-{os.getuid()}"


def private(path: Path) -> bool:
    facts = path.lstat()
    return stat.S_ISDIR(facts.st_mode) and stat.S_IMODE(facts.st_mode) == 0o700 and facts.st_uid == os.getuid()


def test_the_folder_of_locks_is_made_once_and_found_again(tmp_path: Path) -> None:
    folder = lock_folder(tmp_path)
    assert folder == tmp_path / NAME and private(folder)
    assert lock_folder(tmp_path) == folder


def take_with_link(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize(
    "take",
    [
        take_with_link,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.write_text(""),
        lambda path: path.mkdir(mode=0o755),
        lambda path: path.mkdir(mode=0o500),
    ],
    ids=["link to a folder", "link to nothing", "file", "open to others", "closed to us"],
)
def test_a_name_that_is_taken_is_skipped(take: Callable[[Path], None], tmp_path: Path) -> None:
    take(tmp_path / NAME)
    folder = lock_folder(tmp_path)
    assert folder == tmp_path / f"{NAME}-1" and private(folder)
    assert lock_folder(tmp_path) == folder
    if (tmp_path / "elsewhere").exists():
        assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_of_another_user_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / NAME
    taken.mkdir(mode=0o700)
    facts = list(taken.lstat())
    facts[stat.ST_UID] += 1
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: os.stat_result(facts) if path == taken else lstat(path))
    folder = lock_folder(tmp_path)
    assert folder == tmp_path / f"{NAME}-1"
    # The other user may free the name again. Later jobs must still agree with those that are running.
    taken.rmdir()
    monkeypatch.undo()
    assert lock_folder(tmp_path) == folder


def test_when_all_names_are_taken_the_remedy_is_said(tmp_path: Path) -> None:
    for suffix in ("", *(f"-{number}" for number in range(1, devices.LOCK_FOLDERS))):
        (tmp_path / f"{NAME}{suffix}").write_text("")
    with pytest.raises(AcdcError, match=rf"{tmp_path}: .* {NAME} to {NAME}-{devices.LOCK_FOLDERS - 1} .* set TMPDIR"):
        lock_folder(tmp_path)


def test_a_read_only_folder_for_temporary_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        lock_folder(tmp_path / "missing")
    assert str(tmp_path / "missing") in str(caught.value)
