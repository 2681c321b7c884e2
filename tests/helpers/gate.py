"""Hold the jobs of a run at a moment that the test chooses, so that no test depends on the speed of the machine."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

IN_JOBS = Path(__file__).with_name("in_jobs")


class Gate:
    """A folder in which a test and the jobs of its run communicate; the jobs run ``in_jobs/sitecustomize.py``."""

    def __init__(self, folder: Path) -> None:
        """Create the folder unless it exists; no job is held yet.

        Args:
            folder: Folder of the gate.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a run whose jobs pass this gate."""
        return self.environment_of(os.environ)

    def environment_of(self, other: Mapping[str, str]) -> dict[str, str]:
        """Add what makes jobs pass this gate to another environment."""
        path = os.pathsep.join(filter(None, [str(IN_JOBS), other.get("PYTHONPATH")]))
        return {**other, "PYTHONPATH": path, "TEST_GATE": str(self.folder)}

    def hold(self, stage: str, moment: int = 0, like: str = "*") -> None:
        """From now on, hold every job of a script.

        Args:
            stage: Name of the script, such as ``render``.
            moment: Number of the moment before which a job is held; 0 is its start.
            like: Pattern such as ``os.rename *.pt.tmp``; only moments that match it are counted.
        """
        (self.folder / f"{stage}.new").write_text(f"{moment} {secrets.token_hex(8)} {like}")
        (self.folder / f"{stage}.new").rename(self.folder / stage)

    def held(self, stage: str) -> list[int]:
        """Return the process IDs of the jobs that are held."""
        return [int(path.name.split(".")[1]) for path in self.folder.glob(f"{stage}.*.held")]

    def open(self, stage: str) -> None:
        """Hold no further jobs; jobs that are held now stay held."""
        (self.folder / stage).unlink()

    def release(self, stage: str) -> None:
        """Hold no further jobs, and let the held ones continue."""
        token = (self.folder / stage).read_text().split()[1]
        self.open(stage)
        # A job that was told to wait but has not confirmed it yet must find this too.
        (self.folder / f"{stage}.{token}.over").touch()
        for path in self.folder.glob(f"{stage}.*.held"):  # also of jobs that were killed
            path.unlink(missing_ok=True)

    def moments(self, stage: str) -> list[list[str]]:
        """Return what each job of a script has done so far, moment by moment, the shortest list first."""
        return sorted((path.read_text().splitlines() for path in self.folder.glob(f"{stage}.*.moments")), key=len)

    def renames(self, stage: str) -> list[int]:
        """Return the moments of the shortest job just before a file gets its final name."""
        return [number for number, moment in enumerate(self.moments(stage)[0]) if moment.startswith("os.rename")]
