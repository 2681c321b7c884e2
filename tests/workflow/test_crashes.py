"""After a crash, the same command finishes the run, with the same bytes as an undisturbed run."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from acdc_medsam.runtime.run_lock import TEMPORARY
from gate import Gate
from remembered import COMPUTE
from undisturbed import Started, contents, differences
from workflow_run import Workflow


@pytest.mark.timing
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_without_waiting_for_its_jobs(
    fresh: Workflow, gate: Gate, signum: signal.Signals
) -> None:
    """The gate holds a job that would otherwise never end."""
    shutil.rmtree(fresh.raw / "training/patient002")
    fresh.run("images", "work/embeddings/lite_medsam/pe.pt")
    gate.hold("embed", 1, like="os.rename *.pt.tmp")
    started = Started(fresh, environment=gate.environment, served=False)
    assert started.wait_for(lambda _: bool(gate.held("embed") and fresh.stored()))
    kept = fresh.stored()
    assert len(kept) == 1

    started.process.send_signal(signum)
    assert started.process.wait(300) == 1
    assert not started.processes()
    output = started.log.read_text()
    assert "stopping; the same command goes on from here" in output and "Traceback" not in output
    assert not (fresh.data / "manifest.tsv").exists()

    gate.release("embed")
    run = fresh.run("embeddings")
    assert not run.of("normalize", "render")
    assert fresh.stored().items() >= kept.items()
    assert not [path for path in fresh.folder.rglob(".*") if TEMPORARY.fullmatch(path.name)]


@pytest.mark.timing
def test_a_lock_of_a_killed_run_is_explained(fresh: Workflow, gate: Gate) -> None:
    gate.hold("normalize")
    started = Started(fresh, environment=gate.environment)
    assert started.wait_for(lambda _: bool(gate.held("normalize")))
    started.kill()
    gate.release("normalize")
    assert "It can be removed with the --unlock argument" in fresh.run("images", expect=1).output
    fresh.run("--unlock")
    assert fresh.run("images").of("render")


@pytest.mark.timing
def test_a_second_run_on_the_same_output_is_refused(fresh: Workflow, gate: Gate, tmp_path: Path) -> None:
    """Snakemake refuses it in the same folder, the lock of the output folder in another one."""
    gate.hold("normalize")
    started = Started(fresh, environment=gate.environment)
    assert started.wait_for(lambda _: bool(gate.held("normalize")))
    assert "Directory cannot be locked" in fresh.run("images", expect=1).output

    other = Workflow(tmp_path / "elsewhere")
    other.folder.mkdir()
    other.configure(output=str(fresh.folder), raw=str(fresh.raw), encoder={"name": "none"})
    output = other.run("images", expect=1).output
    named = re.search(rf"{re.escape(str(fresh.folder))}: process (\d+) on ", output)
    assert named is not None and named[1] in {process.name for process in started.processes()}
    assert "Traceback" not in output
    assert "is at work there; wait for its end or stop it, or set another 'output'" in output
    started.kill()


def test_the_order_of_jobs_changes_no_byte(undisturbed: Workflow, fresh: Workflow) -> None:
    """Process the last patient first, on one core."""
    fresh.environment = {**os.environ, COMPUTE: "1"}
    fresh.run("--cores", "1", "--", "work/png/patient002/index.tsv")
    fresh.run("--cores", "1")
    assert differences(contents(fresh), contents(undisturbed)) == []


def test_a_clock_that_was_set_back_is_noticed(workflow: Workflow) -> None:
    for path in workflow.raw.rglob("patient001_*.nii.gz"):
        os.utime(path, (4e9, 4e9))
    output = workflow.run("volumes", expect=1).output
    assert "and 3 other raw files were changed in the future" in output and "or `touch` these files" in output
    for path in workflow.raw.rglob("patient001_*.nii.gz"):
        path.touch()
    assert workflow.run("volumes").of("normalize")
