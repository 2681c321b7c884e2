"""Run the workflow in a folder of its own, as a user does, and see which jobs ran."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from preloaded_server import PreloadedServer

ROOT = Path(__file__).parents[2]
JOB = re.compile(r"^Job \d+: (.*)$", re.MULTILINE)
SERVER = PreloadedServer()


class Run:
    """What one call of Snakemake did.

    Attributes:
        code: Exit status.
        output: What Snakemake printed.
        jobs: Messages of the jobs that ran, sorted; none for a dry run.
    """

    def __init__(self, code: int, output: str) -> None:
        """Find the jobs in the output."""
        self.code = code
        self.output = output
        self.jobs = [] if "This was a dry-run" in self.output else sorted(JOB.findall(self.output))

    def of(self, *stages: str) -> list[str]:
        """Return the jobs whose messages start with one of the given words."""
        return [job for job in self.jobs if job.startswith(stages)]


class Workflow:
    """A folder with raw data, a configuration, and what the workflow makes from them.

    Attributes:
        folder: The folder.
        raw: Folder of the raw data.
        data: Folder of the published dataset.
        store: Folder of the embeddings.
        environment: Environment of its runs; None for that of the test.
        served: Whether the server starts its runs, which saves time.
    """

    def __init__(self, folder: Path) -> None:
        """Take a folder, which need not exist yet."""
        self.folder = folder
        self.raw = folder / "raw"
        self.data = folder / "data" / "ACDC"
        self.store = folder / "work" / "embeddings" / "store"
        self.environment: dict[str, str] | None = None
        self.served = True

    def configure(self, **config: Any) -> None:
        """Write the configuration that overlays the project's own."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump({"raw": "raw", **config}))

    def configuration(self) -> dict[str, Any]:
        """Return the configuration that was written last."""
        config: dict[str, Any] = yaml.safe_load((self.folder / "config.yaml").read_text())
        return {key: value for key, value in config.items() if key != "raw"}

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a run."""
        common = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "2"]
        return [sys.executable, "-m", "snakemake", *common, *arguments]

    def run(self, *arguments: str, expect: int = 0) -> Run:
        """Run Snakemake.

        Args:
            arguments: Arguments for Snakemake.
            expect: Exit status that is expected; on another one the test fails with what Snakemake printed.
        """
        command = self.command(*arguments)
        output = self.folder.with_name(f"{self.folder.name}.output")

        if self.served and command[0] == sys.executable:
            command[0] = SERVER.python()
        with output.open("w") as file:
            code = subprocess.run(
                command, cwd=self.folder, env=self.environment, stdout=file, stderr=subprocess.STDOUT
            ).returncode
        text = output.read_text()
        assert code == expect, text
        return Run(code, text)

    def stored(self) -> dict[str, int]:
        """Return embedding in the store -> time when it was written."""
        return {file.name: file.stat().st_mtime_ns for file in self.store.glob("*/*.pt")}

    def copy(self, folder: Path) -> "Workflow":
        """Copy the folder, including times and hard links."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", self.folder, folder], check=True)
        return Workflow(folder)
