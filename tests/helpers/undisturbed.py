"""Runs that are disturbed while they are at work, and what they leave beside a run that was not."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable

from workflow_run import Workflow

TIMED = {"data/ACDC/report.html", "data/ACDC/provenance.json", "work/report.tsv", "work/provenance.tsv"}
"""Files that say when they were written and how long things took, and their indexes."""

OF_THIS_DISK = re.compile(
    r"work/(logs|benchmarks)/.*|work/(run\.lock|sound_items\.json|outside\.json)"
    r"|work/(embeddings/store|measures)/.*\.json|.*/\..*\.times|.*/\.snakemake_timestamp"
)
"""Logs, times, and what is remembered of files on this file system."""


def contents(workflow: Workflow) -> dict[str, bytes]:
    """Every published file and every intermediate one but logs, times, and memories of this file system."""
    folders = [workflow.folder / "data", workflow.folder / "work", *workflow.folder.glob("ACDC_*")]
    found = {str(path.relative_to(workflow.folder)): path for folder in folders for path in folder.rglob("*")}
    return {
        name: b"" if name in TIMED else path.read_bytes()
        for name, path in found.items()
        if path.is_file() and not OF_THIS_DISK.fullmatch(name)
    }


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of files that only one has, or that differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


class Started:
    """A run in a process group of its own, whose output is followed."""

    def __init__(self, workflow: Workflow, *arguments: str) -> None:
        self.log = workflow.folder / "run.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                workflow.command(*arguments),
                cwd=workflow.folder,
                env=workflow.environment,
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

    def kill(self) -> None:
        """Kill Snakemake and all its jobs, and wait for their end."""
        os.killpg(self.process.pid, signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL
