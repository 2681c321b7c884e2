"""Whatever kills a run, the same command finishes it, with the bytes of a run that nothing disturbed."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from acdc_medsam.run_lock import TEMPORARY
from gate import Gate
from undisturbed import Started, contents, differences
from workflow_run import Workflow

pytestmark = pytest.mark.disturbed

WAVES = (
    ("normalize", "positional_encoding"),
    ("render",),
    ("embed", "split"),
    ("publish", "measure"),
    ("verify",),
    ("accept", "report", "card"),
    ("provenance",),
)
"""Scripts whose jobs can be at work at the same time, in the order of a run; a kill ends those of a wave."""

# So many cores that no job waits for one that is held, and as many threads to a job as in a run that is not disturbed.
ROOM = ["--cores", "16", "--set-threads", *(f"{rule}=2" for rule in ("embed", "measure", "check", "write_report"))]


def choose_moment(moments: Gate, stage: str, kind: int, chance: random.Random) -> int:
    """Choose one of the moments of a stage's jobs.

    Args:
        moments: What the jobs of an undisturbed run did, moment by moment.
        stage: The script of the jobs.
        kind: 0 for before the first file, 1 for between two files, 2 for after the last file but the index that is the
            job's declared output, 3 for after the index. A job that writes one file has nothing between two.
        chance: Source of the choice.
    """
    renames = moments.renames(stage)
    first, last, end = renames[0], renames[-1], len(moments.moments(stage)[0])
    kinds = range(first + 1), range(first + 1, last), range(last, last + 1), range(last + 1, end)
    return chance.choice(kinds[kind] or kinds[0])


def kill(started: Started) -> None:
    """Kill Snakemake and all its jobs, and wait for their end."""
    os.killpg(started.process.pid, signal.SIGKILL)
    assert started.process.wait() == -signal.SIGKILL


def test_killed_in_every_stage(
    undisturbed: Workflow, moments: Gate, unmade: Workflow, gate: Gate, request: pytest.FixtureRequest
) -> None:
    """Each round kills the jobs of each stage once, at a moment that is surely inside of them, and then goes on."""
    rounds, seed = (request.config.getoption(f"--kill-{name}") for name in ("rounds", "seed"))
    chance, expected = random.Random(seed), contents(undisturbed)
    stages = [stage for wave in WAVES for stage in wave]
    kinds = {stage: chance.randrange(4) for stage in stages}
    unmade.environment = gate.environment

    for turn in range(rounds):
        killed = list[str]()
        for wave in WAVES:
            for stage in wave:
                gate.hold(stage, choose_moment(moments, stage, (kinds[stage] + turn) % 4, chance))
            started = Started(unmade, *ROOM)
            assert started.wait_for(lambda _, wave=wave: all(map(gate.held, wave)))  # type: ignore[misc]
            kill(started)
            killed += wave
            for stage in wave:
                gate.release(stage)
            unmade.run("--unlock")
        unmade.run()
        assert differences(contents(unmade), expected) == []
        assert killed == stages
        for made in ("work", "data", "ACDC_training_volumes", "ACDC_training_slices"):
            shutil.rmtree(unmade.folder / made)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_without_waiting_for_its_jobs(
    unmade: Workflow, gate: Gate, moments: Gate, signum: signal.Signals
) -> None:
    """A job that is held would go on for ever."""
    unmade.environment = gate.environment
    gate.hold("embed", moments.renames("embed")[1])
    started = Started(unmade)
    assert started.wait_for(lambda _: bool(gate.held("embed")))
    kept = unmade.stored()
    assert len(kept) == 1
    started.process.send_signal(signum)
    assert started.process.wait(300) == 1
    assert not [path for path in Path("/proc").glob("[0-9]*") if at_work_in(path, unmade.folder)]
    output = started.log.read_text()
    assert "stopping; the same command goes on from here" in output and "Traceback" not in output
    assert not (unmade.data / "manifest.tsv").exists()
    gate.release("embed")
    run = unmade.run("embeddings")
    assert not run.of("normalize", "render")
    assert unmade.stored().items() >= kept.items()
    assert not [path for path in unmade.folder.rglob(".*") if TEMPORARY.fullmatch(path.name)]


def at_work_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").resolve(strict=True).is_relative_to(folder)
    except OSError:
        return False


def test_a_lock_that_was_left_is_explained(unmade: Workflow, gate: Gate) -> None:
    unmade.environment = gate.environment
    gate.hold("normalize")
    started = Started(unmade)
    assert started.wait_for(lambda _: bool(gate.held("normalize")))
    kill(started)
    gate.release("normalize")
    assert "It can be removed with the --unlock argument" in unmade.run("images", expect=1).output
    unmade.run("--unlock")
    assert unmade.run("images").of("render")


def test_a_second_run_on_the_same_output_is_refused(unmade: Workflow, gate: Gate, tmp_path: Path) -> None:
    """From the same folder by Snakemake, from another one by the output's own lock."""
    unmade.environment = gate.environment
    gate.hold("normalize")
    started = Started(unmade)
    assert started.wait_for(lambda _: bool(gate.held("normalize")))
    assert "Directory cannot be locked" in unmade.run("images", expect=1).output
    other = Workflow(tmp_path / "elsewhere")
    other.folder.mkdir()
    other.configure(output=str(unmade.folder), raw=str(unmade.raw), encoder={"name": "none"})
    output = other.run("images", expect=1).output
    assert f"{unmade.folder}: process {started.process.pid} on " in output and "Traceback" not in output
    assert "is at work there; wait for its end or stop it, or set another 'output'" in output
    kill(started)


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
