"""Whichever stage is killed, and when, the same command finishes the run with the bytes of an undisturbed run."""

import random
import shutil

import pytest

from gate import Gate
from undisturbed import Started, contents, differences
from workflow_run import Workflow

pytestmark = pytest.mark.timing

WAVES = (
    ("normalize", "positional_encoding"),
    ("render",),
    ("embed", "split"),
    ("publish", "measure"),
    ("verify",),
    ("accept", "report", "card"),
    ("provenance",),
)
"""Scripts whose jobs can run at the same time, in the order of a run; a kill ends the jobs of one wave."""

# Enough cores that no job waits for one that is held, and as many threads per job as in an undisturbed run.
THREADED = ("embed", "measure", "verify_dataset", "write_report")
ROOM = ["--cores", "16", "--set-threads", *(f"{rule}=2" for rule in THREADED)]


def choose_moment(moments: Gate, stage: str, kind: int, chance: random.Random) -> int:
    """Choose one of the moments of a stage's jobs.

    Args:
        moments: Gate of an undisturbed run, which has the moments of its jobs.
        stage: Name of the jobs' script.
        kind: 0 for a moment before the first file, 1 for one between two files, 2 for the moment before the index,
            which is the declared output and the last file, 3 for one after the index. A job that writes only one file
            has no moment of kind 1; it gets one of kind 0.
        chance: Source of random numbers.

    Returns:
        The number of the moment.
    """
    renames = moments.renames(stage)
    first, last, end = renames[0], renames[-1], len(moments.moments(stage)[0])
    kinds = range(first + 1), range(first + 1, last), range(last, last + 1), range(last + 1, end)
    return chance.choice(kinds[kind] or kinds[0])


def test_killed_in_every_stage(
    undisturbed: Workflow, moments: Gate, fresh: Workflow, gate: Gate, request: pytest.FixtureRequest
) -> None:
    """In each round, kill the jobs of each stage once, at a moment inside of them, and then finish the run."""
    rounds, seed = (request.config.getoption(f"--kill-{name}") for name in ("rounds", "seed"))
    if hasattr(request.node, "callspec"):  # repeated, each time at other moments
        seed += request.node.callspec.params["repetition"]
    chance = random.Random(seed)
    expected = contents(undisturbed)
    stages = [stage for wave in WAVES for stage in wave]
    kinds = {stage: chance.randrange(4) for stage in stages}

    for turn in range(rounds):
        killed: list[str] = []
        for wave in WAVES:
            for stage in wave:
                gate.hold(stage, choose_moment(moments, stage, (kinds[stage] + turn) % 4, chance))
            started = Started(fresh, *ROOM, environment=gate.environment)
            assert started.wait_for(lambda _, wave=wave: all(map(gate.held, wave)))  # type: ignore[misc]
            started.kill()
            killed += wave
            for stage in wave:
                gate.release(stage)
            fresh.run("--unlock")

        fresh.run()
        assert differences(contents(fresh), expected) == []
        assert killed == stages
        for name in ("work", "data", "ACDC_training_volumes", "ACDC_training_slices"):
            shutil.rmtree(fresh.folder / name)
