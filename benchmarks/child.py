"""Run a measurement in a process of its own, so that its memory and its start-up are measured alone."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finished:
    """Resources that a process used, and its result.

    Attributes:
        seconds: The time from the start of the process to its end.
        cpu_seconds: The CPU time of the process and its children.
        peak_memory_mib: The peak resident memory of the process alone.
        result: The JSON object that the process printed last.
    """

    seconds: float
    cpu_seconds: float
    peak_memory_mib: int
    result: dict[str, Any]


def run(command: Sequence[str]) -> Finished:
    """Run a command. If it fails, end this process with the command's output."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
            # Only wait4 tells the resources of this one child.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read()

    if process.returncode:
        sys.exit(f"failed: {' '.join(command)}\n{text}")
    lines = text.splitlines()
    result = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Finished(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024, result)


def run_child(script: str, arguments: dict[str, Any]) -> Finished:
    """Run ``python script --child ARGUMENTS``, with the arguments as one JSON object."""
    return run([sys.executable, str(Path(script)), "--child", json.dumps(arguments)])
