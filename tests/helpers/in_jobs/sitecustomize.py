"""Note the moments of a job and hold it at one of them, see :mod:`gate`. Python imports this module at its start.

The moments of a job are its start, every write, rename, link and removal below its working directory, and its end.
"""

import atexit
import fnmatch
import os
import sys
import threading
import time
from pathlib import Path

FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.link", "os.remove")


class Job:
    """The process of a job, which notes its moments and stops at the one that the test chose."""

    def __init__(self, gate: Path, stage: str) -> None:
        """Start at moment 0.

        Args:
            gate: Folder of the gate.
            stage: Name of the job's script.
        """
        self.notes = gate / f"{stage}.{os.getpid()}.moments"
        self.marker = gate / f"{stage}.{os.getpid()}.held"
        self.chosen = gate / stage
        self.here = f"{Path.cwd()}{os.sep}"
        self.all = list[str]()
        self.lock = threading.Lock()

    def audit(self, event: str, values: tuple[object, ...]) -> None:
        """Note changes of files; Python calls this before everything it does with the file system."""
        if event in CHANGES or (event == "open" and isinstance(values[2], int) and values[2] & FLAGS):
            path = os.path.join(self.here, values[0]) if isinstance(values[0], str) else ""  # noqa: PTH118
            if path.startswith(self.here) and not path.startswith((f"{self.here}.snakemake", f"{self.here}work/logs")):
                self.moment(f"{event} {path.removeprefix(self.here)}")

    def moment(self, what: str) -> None:
        """Note a moment. At the chosen one, stop all threads until the test releases the job."""
        with self.lock:
            with self.notes.open("a") as notes:
                notes.write(f"{what}\n")
            self.all.append(what)
            try:
                chosen, token, like = self.chosen.read_text().split(maxsplit=2)
            except FileNotFoundError:  # nothing is held, or no longer
                return
            alike = fnmatch.filter(self.all, like)
            if alike and fnmatch.fnmatch(what, like) and int(chosen) == len(alike) - 1:
                self.marker.touch()
                while not self.chosen.with_name(f"{self.chosen.name}.{token}.over").exists():
                    time.sleep(0.01)
                self.marker.unlink(missing_ok=True)


words = Path(sys.orig_argv[-1]).name.split(".")  # as in tmp3s5k2a1x.render.py
if "TEST_GATE" in os.environ and len(words) == 3 and words[0].startswith("tmp") and words[2] == "py":
    job = Job(Path(os.environ["TEST_GATE"]), words[1])
    job.moment("start")
    sys.addaudithook(job.audit)
    atexit.register(job.moment, "end")
