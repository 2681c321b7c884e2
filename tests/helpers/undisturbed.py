"""Start runs that a test disturbs, and compare their files with those of an undisturbed run."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from workflow_run import SERVER, Workflow

WITH_TIMES = {"data/ACDC/report.html", "data/ACDC/provenance.json", "work/report.tsv", "work/provenance.tsv"}
"""Files that contain dates or durations, and their indexes."""

LOCAL = re.compile(
    r"work/(logs|benchmarks)/.*|work/(run\.lock|(sound_items|report_pieces|outside)\.json)"
    r"|work/(embeddings/store|measures)/.*\.json|.*/\..*\.times|.*/\.snakemake_timestamp"
)
"""Names of logs, of durations, and of what is remembered about files on this file system."""


def contents(workflow: Workflow) -> dict[str, bytes]:
    """Return the content of every published and intermediate file, except LOCAL ones; empty for those WITH_TIMES."""
    folders = [workflow.folder / "data", workflow.folder / "work", *workflow.folder.glob("ACDC_*")]
    found = {str(path.relative_to(workflow.folder)): path for folder in folders for path in folder.rglob("*")}
    return {
        name: b"" if name in WITH_TIMES else path.read_bytes()
        for name, path in found.items()
        if path.is_file() and not LOCAL.fullmatch(name)
    }


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Return the names of files that differ, or that only one of two runs has."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


class Started:
    """A run in a process group of its own, whose output a test can follow."""

    def __init__(
        self, workflow: Workflow, *arguments: str, environment: Mapping[str, str], served: bool = True
    ) -> None:
        """Start the run.

        Args:
            workflow: Workflow to run.
            arguments: Arguments for Snakemake.
            environment: Environment of the run, such as a gate's.
            served: Whether the tests' server starts the run. Then no signal but SIGKILL reaches the run.
        """
        self.folder = workflow.folder
        command = workflow.command(*arguments)
        if served:
            command[0] = SERVER.python()
        self.log = workflow.folder / "run.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=workflow.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def wait_for(self, condition: Callable[[str], bool], seconds: float = 300) -> bool:
        """Wait for a condition on the output.

        Args:
            condition: Function that takes the output so far and says whether the condition holds.
            seconds: Longest time to wait.

        Returns:
            False if the run ended before the condition held.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            if condition(self.log.read_text()):
                return True
            if ended:
                return False
            time.sleep(0.01)
        raise AssertionError(f"not met within {seconds} s:\n{self.log.read_text()}")

    def kill(self) -> None:
        """Kill Snakemake and all its jobs, and wait until they have ended."""
        os.killpg(self.process.pid, signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL
        while self.processes():
            time.sleep(0.01)

    def processes(self) -> list[Path]:
        """Return the processes that work in the folder of the run, as folders of /proc."""
        return [path for path in Path("/proc").glob("[0-9]*") if works_in(path, self.folder)]


def works_in(process: Path, folder: Path) -> bool:
    """Whether the working directory of a process, a folder of /proc, is in a folder."""
    try:
        return (process / "cwd").resolve(strict=True).is_relative_to(folder)
    except OSError:
        return False
