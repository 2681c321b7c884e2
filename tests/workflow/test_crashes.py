"""Whatever kills a run, the same command finishes it, with the bytes of a run that nothing disturbed."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from acdc_medsam.run_lock import TEMPORARY
from undisturbed import Started, contents, differences
from workflow_run import Workflow

STAGES = {
    "normalize patient": 0.5,
    "render patient": 0.5,
    "write the positional encoding": 2.5,
    "embed p": 4.0,
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


def test_killed_at_random_moments_in_every_stage(
    undisturbed: Workflow, unmade: Workflow, request: pytest.FixtureRequest
) -> None:
    kills: int = request.config.getoption("--kills")
    chance, expected = random.Random(kills), contents(undisturbed)
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
    run = unmade.run("embeddings")
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
    os.kill(started.process.pid, signal.SIGSTOP)  # however long this takes, it is still at work
    assert "Directory cannot be locked" in unmade.run("images", expect=1).output
    other = Workflow(tmp_path / "elsewhere")
    other.folder.mkdir()
    other.configure(output=str(unmade.folder), raw=str(unmade.raw), encoder={"name": "none"})
    output = other.run("images", expect=1).output
    assert f"{unmade.folder}: process {started.process.pid} on " in output and "Traceback" not in output
    assert "is at work there; wait for its end or stop it, or set another 'output'" in output
    os.killpg(started.process.pid, signal.SIGKILL)
    started.process.wait()


def test_the_order_of_jobs_changes_no_byte(undisturbed: Workflow, unmade: Workflow) -> None:
    """The last patient first, and on one core."""
    unmade.run("--cores", "1", "--", "work/png/patient002/index.tsv")
    unmade.run("--cores", "1")
    assert differences(contents(unmade), contents(undisturbed)) == []


def test_a_clock_that_was_set_back_is_noticed(workflow: Workflow) -> None:
    for path in workflow.raw.rglob("patient001_*.nii.gz"):
        os.utime(path, (4e9, 4e9))
    output = workflow.run("volumes", expect=1).output
    assert "and 3 other raw files were changed in the future" in output and "or `touch` these files" in output
    for path in workflow.raw.rglob("patient001_*.nii.gz"):
        path.touch()
    assert workflow.run("volumes").of("normalize")
