"""GPUs are shared among jobs by locks; these tests have none, and lend out names."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from acdc_medsam import devices
from acdc_medsam.devices import claimed, claimed_device
from acdc_medsam.errors import ConfigError

HOLDER = """
import sys, time
from pathlib import Path
from acdc_medsam.devices import claimed
with claimed(["a", "b"], Path(sys.argv[1])) as position:
    print(position, flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds one of two things until it is killed."""
    paths = [path for path in sys.path if path]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{HOLDER}", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def held_by(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_each_job_gets_one_that_no_other_holds_until_the_other_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "POLL_SECONDS", 0.05)
    holders = []
    try:
        holders.append(hold(tmp_path))
        assert held_by(holders[0]) == 0
        with claimed(["a", "b"], tmp_path) as position:
            assert position == 1
        holders.append(hold(tmp_path))
        assert held_by(holders[1]) == 1
        holders[0].kill()
        with claimed(["a", "b"], tmp_path) as position:
            assert position == 0
    finally:
        for process in holders:
            process.kill()
            process.communicate()


def test_who_finds_none_free_waits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    holder = hold(tmp_path)
    assert held_by(holder) == 0

    def poll(seconds: float) -> None:
        holder.kill()
        holder.communicate()

    monkeypatch.setattr(time, "sleep", poll)
    with claimed(["a"], tmp_path) as position:
        assert position == 0
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

    monkeypatch.setattr(devices, "LOCKS", tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    with claimed_device("auto") as first, claimed_device("cuda") as second:
        assert (first, second) == (torch.device("cuda:0"), torch.device("cuda:1"))
    with claimed_device("cuda:1") as device:
        assert device == torch.device("cuda:1")
    assert {path.name for path in tmp_path.iterdir()} <= {"gpu-serial-0.lock", "gpu-serial-1.lock"}
