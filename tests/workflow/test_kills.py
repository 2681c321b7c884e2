"""Whichever stage is killed, and when, the same command finishes the run, with the bytes of an undisturbed one."""

import random
import shutil

import pytest

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
THREADED = ("embed", "measure", "verify_dataset", "write_report")
ROOM = ["--cores", "16", "--set-threads", *(f"{rule}=2" for rule in THREADED)]


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
            started.kill()
            killed += wave
            for stage in wave:
                gate.release(stage)
            unmade.run("--unlock")
        unmade.run()
        assert differences(contents(unmade), expected) == []
        assert killed == stages
        for made in ("work", "data", "ACDC_training_volumes", "ACDC_training_slices"):
            shutil.rmtree(unmade.folder / made)
