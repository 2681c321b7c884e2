"""Run one measurement in a process of its own, so that its memory and its start are its own."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finished:
    """What a measurement took.

    Attributes:
        seconds: from starting the process to its end.
        peak_memory_mib: largest resident memory.
        result: the JSON object that it printed last.
    """

    seconds: float
    peak_memory_mib: int
    result: dict[str, Any]


def run_child(script: str, arguments: dict[str, Any]) -> Finished:
    """Run ``python script ARGUMENTS``, arguments as one JSON object."""
    started = time.perf_counter()
    command = [sys.executable, script, "--child", json.dumps(arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"the measurement failed: {Path(script).name} {json.dumps(arguments)}")
    return Finished(seconds, usage.ru_maxrss // 1024, json.loads(output.splitlines()[-1]))
