"""Whatever kills a run, the same command finishes it, with the bytes of a run that nothing disturbed."""

import os
import signal
from pathlib import Path

import pytest

from acdc_medsam.runtime.run_lock import TEMPORARY
from gate import Gate
from undisturbed import Started, contents, differences
from workflow_run import Workflow

pytestmark = pytest.mark.disturbed


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_without_waiting_for_its_jobs(
    unmade: Workflow, gate: Gate, signum: signal.Signals
) -> None:
    """A job that is held would go on for ever."""
    unmade.environment = gate.environment
    gate.hold("embed", 1, like="os.rename *.pt.tmp")
    started = Started(unmade)
    assert started.wait_for(lambda _: bool(gate.held("embed") and unmade.stored()))
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
    started.kill()
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
    started.kill()


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
