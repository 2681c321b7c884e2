"""Hold the jobs of a run at a moment of the test's choice, so that nothing depends on how fast a machine is."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

IN_JOBS = Path(__file__).with_name("in_jobs")


class Gate:
    """A folder through which a test and the jobs of its run, by ``in_jobs/sitecustomize.py``, speak to each other."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, unless it is there; no job is held yet."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a run whose jobs pass this gate."""
        return self.environment_of(os.environ)

    def environment_of(self, other: Mapping[str, str]) -> dict[str, str]:
        """Another environment with what makes jobs pass this gate."""
        path = os.pathsep.join(filter(None, [str(IN_JOBS), other.get("PYTHONPATH")]))
        return {**other, "PYTHONPATH": path, "TEST_GATE": str(self.folder)}

    def hold(self, stage: str, moment: int = 0, like: str = "*") -> None:
        """Hold every job of a script, such as ``render``, from now on before its n-th moment; 0 is its start.

        With a pattern, only moments like ``os.rename *.pt.tmp`` are counted.
        """
        (self.folder / f"{stage}.new").write_text(f"{moment} {secrets.token_hex(8)} {like}")
        (self.folder / f"{stage}.new").rename(self.folder / stage)

    def held(self, stage: str) -> list[int]:
        """Process numbers of the jobs that are held."""
        return [int(path.name.split(".")[1]) for path in self.folder.glob(f"{stage}.*.held")]

    def open(self, stage: str) -> None:
        """Hold no further job; those that are held stay so."""
        (self.folder / stage).unlink()

    def release(self, stage: str) -> None:
        """Hold no further job, and let those go on that are held."""
        token = (self.folder / stage).read_text().split()[1]
        self.open(stage)
        # A job that has read the order to wait and not yet said that it waits must find this too.
        (self.folder / f"{stage}.{token}.over").touch()
        for path in self.folder.glob(f"{stage}.*.held"):  # those of jobs that were killed too
            path.unlink(missing_ok=True)

    def moments(self, stage: str) -> list[list[str]]:
        """What each job of a script did so far, moment by moment, the shortest first."""
        return sorted((path.read_text().splitlines() for path in self.folder.glob(f"{stage}.*.moments")), key=len)

    def renames(self, stage: str) -> list[int]:
        """The moments before a file gets its name; each job of the script has these at least."""
        return [number for number, moment in enumerate(self.moments(stage)[0]) if moment.startswith("os.rename")]
