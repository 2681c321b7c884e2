"""A process that has imported Snakemake and does each run in a copy of itself, which saves the run half of its start.

A line of JSON for each run comes on standard input: its arguments, folder, environment and the file for its output; a
line with its exit status goes back. Tests that follow or disturb a run start it afresh, as a user does.
"""

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

# What a run imports from other projects; the project's own modules each run imports anew.
LIBRARIES = (
    "h5py",
    "jsonschema",
    "nibabel",
    "psutil",
    "snakemake.cli",
    "snakemake.profiles",
    "snakemake.report.html_reporter",
    "snakemake.storage",
)


class SnakemakeServer:
    """The process, started when the first run is asked for and ended with the process that asked."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self.process: subprocess.Popen[str] | None = None

    def run(self, arguments: list[str], folder: Path, output: Path) -> int:
        """Do what ``python -m snakemake`` with these arguments does in a folder; returns the exit status."""
        if self.process is None:
            command = [sys.executable, __file__]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        asked = {"arguments": arguments, "folder": str(folder), "output": str(output), "environment": dict(os.environ)}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def become(run: dict[str, Any]) -> None:
    """Make this copy of the server what a new process would be, and run Snakemake."""
    descriptors = (os.open(os.devnull, os.O_RDONLY), os.open(run["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    for standard, descriptor in enumerate((*descriptors, descriptors[1])):
        os.dup2(descriptor, standard)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(run["environment"])
    os.chdir(run["folder"])
    sys.path[0] = run["folder"]
    sys.argv = ["snakemake", *run["arguments"]]
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)


def serve() -> None:
    """Answer until nobody asks any more."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        number = os.fork()
        if not number:
            return become(json.loads(line))
        _, status = os.waitpid(number, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
