"""Whatever kills a run, the same command finishes it, with the bytes of a run that nothing disturbed."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acdc_medsam.run_lock import TEMPORARY
from workflow_run import Run, Workflow

STAGES = {
    "normalize patient": 0.5,
    "render patient": 0.5,
    "write the positional encoding": 2.5,
    "embed p": 6.0,
    "split": 0.3,
    "publish": 0.4,
    "verify": 2.0,
    "accept": 0.2,
    "measure": 2.0,
    "write the report": 3.0,
    "write the dataset card": 0.6,
    "write the provenance": 0.6,
}
"""What Snakemake prints when a job of a stage starts -> seconds within which it is killed, about what it takes."""

TIMED = {"data/ACDC/report.html", "data/ACDC/provenance.json"}
"""Files that say when they were written and how long things took."""


def contents(workflow: Workflow) -> dict[str, bytes]:
    """Every published file and every intermediate one but logs, times, and memories of this file system."""
    folders = [workflow.folder / "data", workflow.folder / "work", *workflow.folder.glob("ACDC_*")]
    found = {str(path.relative_to(workflow.folder)): path for folder in folders for path in folder.rglob("*")}
    apart = ("work/logs", "work/benchmarks", "work/run.lock", "work/sound_items.json")
    return {
        name: b"" if name in TIMED else path.read_bytes()
        for name, path in found.items()
        if path.is_file() and not name.startswith(apart)
    }


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of files that only one has, or that differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


class Started:
    """A run in a process group of its own, whose output is followed."""

    def __init__(self, workflow: Workflow) -> None:
        self.log = workflow.folder / "run.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                workflow.command(),
                cwd=workflow.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def wait_for(self, condition: Callable[[str], bool], seconds: float = 120) -> bool:
        """Wait until the output is as wanted; False if the run ended before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            if condition(self.log.read_text()):
                return True
            if ended:
                return False
            time.sleep(0.01)
        raise AssertionError(f"not within {seconds} s:\n{self.log.read_text()}")


@pytest.fixture
def unmade(finished_once: tuple[Workflow, Run, dict[str, Any]], tmp_path: Path) -> Workflow:
    """The input of the complete run, and nothing made of it."""
    done, _, encoder = finished_once
    new = Workflow(tmp_path / "run")
    shutil.copytree(done.raw, new.raw)
    new.configure(encoder=encoder)
    return new


def test_killed_at_random_moments_in_every_stage(
    finished_once: tuple[Workflow, Run, dict[str, Any]], unmade: Workflow, request: pytest.FixtureRequest
) -> None:
    kills: int = request.config.getoption("--kills")
    chance, expected = random.Random(kills), contents(finished_once[0])
    killed = Counter[str]()
    while killed.total() < kills:
        for stage, seconds in STAGES.items():
            if killed.total() == kills:
                break
            started = Started(unmade)
            if started.wait_for(lambda output, job=stage: f": {job}" in output):  # type: ignore[misc]
                time.sleep(chance.uniform(0, seconds))
            # A stage whose jobs an earlier run finished is not killed, and is not counted.
            if started.process.poll() is None:
                os.killpg(started.process.pid, signal.SIGKILL)
                killed[stage] += 1
            started.process.wait()
            unmade.run("--unlock")
        unmade.run()
        assert differences(contents(unmade), expected) == []
        for made in ("work", "data", "ACDC_training_volumes", "ACDC_training_slices"):
            shutil.rmtree(unmade.folder / made)
    print(f"{killed.total()} kills survived: {dict(killed)}")
    assert len(killed) >= min(kills, len(STAGES)) - 3


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_soon(unmade: Workflow, signum: signal.Signals) -> None:
    started = Started(unmade)
    assert started.wait_for(lambda output: ": embed p" in output)
    assert started.wait_for(lambda _: bool(unmade.stored()))
    started.process.send_signal(signum)
    assert started.process.wait(20) == 1
    assert not [path for path in Path("/proc").glob("[0-9]*") if at_work_in(path, unmade.folder)]
    output = started.log.read_text()
    assert "stopping; the same command goes on from here" in output and "Traceback" not in output
    assert not (unmade.data / "manifest.tsv").exists()
    kept = unmade.stored()
    run = unmade.run()
    assert not run.of("normalize", "render")
    assert unmade.stored().items() >= kept.items()
    assert not [path for path in unmade.folder.rglob(".*") if TEMPORARY.fullmatch(path.name)]


def at_work_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").resolve(strict=True).is_relative_to(folder)
    except OSError:
        return False


def test_a_lock_that_was_left_is_explained(unmade: Workflow) -> None:
    started = Started(unmade)
    assert started.wait_for(lambda output: ": normalize" in output)
    os.killpg(started.process.pid, signal.SIGKILL)
    started.process.wait()
    assert "It can be removed with the --unlock argument" in unmade.run("images", expect=1).output
    unmade.run("--unlock")
    assert unmade.run("images").of("render")


def test_a_second_run_on_the_same_output_is_refused(unmade: Workflow, tmp_path: Path) -> None:
    """From the same folder by Snakemake, from another one by the output's own lock."""
    started = Started(unmade)
    assert started.wait_for(lambda output: ": normalize" in output)
    assert "Directory cannot be locked" in unmade.run("images", expect=1).output
    other = Workflow(tmp_path / "elsewhere")
    other.folder.mkdir()
    other.configure(output=str(unmade.folder), raw=str(unmade.raw), encoder={"name": "none"})
    os.kill(started.process.pid, signal.SIGSTOP)  # however long this takes, it is still at work
    output = other.run("images", expect=1).output
    assert f"{unmade.folder}: process {started.process.pid} on " in output and "Traceback" not in output
    assert "is at work there; wait for its end or stop it, or set another 'output'" in output
    os.kill(started.process.pid, signal.SIGCONT)
    assert started.process.wait() == 0


def test_the_order_of_jobs_and_the_clock_change_no_byte(
    finished_once: tuple[Workflow, Run, dict[str, Any]], unmade: Workflow
) -> None:
    """Patients one at a time, the last one first, on one core; and raw files that seem to be from the future."""
    expected = contents(finished_once[0])
    for path in unmade.raw.rglob("*.nii.gz"):
        os.utime(path, (4e9, 4e9))
    for number in (4, 3, 2, 1):
        unmade.run("--cores", "1", "--", f"work/png/patient{number:03d}/index.tsv")
    unmade.run("--cores", "1")
    assert differences(contents(unmade), expected) == []
