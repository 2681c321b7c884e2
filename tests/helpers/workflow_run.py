"""Run the workflow in a folder of its own, as a user does, and see which jobs ran."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from snakemake_server import SnakemakeServer

ROOT = Path(__file__).parents[2]
JOB = re.compile(r"^Job \d+: (.*)$", re.MULTILINE)
SERVER = SnakemakeServer()


class Run:
    """What one call of Snakemake did."""

    def __init__(self, code: int, output: str) -> None:
        self.code, self.output = code, output
        self.jobs = [] if "This was a dry-run" in self.output else sorted(JOB.findall(self.output))

    def of(self, *stages: str) -> list[str]:
        """The jobs of some stages."""
        return [job for job in self.jobs if job.startswith(stages)]


class Workflow:
    """A folder with raw data, a configuration and what the workflow makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = folder / "raw"
        self.data = folder / "data" / "ACDC"
        self.store = folder / "work" / "embeddings" / "store"
        self.environment: dict[str, str] | None = None

    def configure(self, **config: Any) -> None:
        """Write the configuration that overlays the project's own."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump({"raw": "raw", **config}))

    def configuration(self) -> dict[str, Any]:
        """The configuration that was written last."""
        config: dict[str, Any] = yaml.safe_load((self.folder / "config.yaml").read_text())
        return {key: value for key, value in config.items() if key != "raw"}

    def command(self, *arguments: str) -> list[str]:
        """The command line of a run."""
        common = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "2"]
        return [sys.executable, "-m", "snakemake", *common, *arguments]

    def run(self, *arguments: str, expect: int = 0) -> Run:
        """Run Snakemake; fail with what it printed unless it ended as expected."""
        command, output = self.command(*arguments), self.folder.with_name(f"{self.folder.name}.output")
        # The server's Python was started with this process's environment.
        if self.environment is None and command[1:3] == ["-m", "snakemake"]:
            code = SERVER.run(command[3:], self.folder, output)
        else:
            with output.open("w") as file:
                code = subprocess.run(
                    command, cwd=self.folder, env=self.environment, stdout=file, stderr=subprocess.STDOUT
                ).returncode
        text = output.read_text()
        assert code == expect, text
        return Run(code, text)

    def stored(self) -> dict[str, int]:
        """Embeddings in the store and when they were written."""
        return {file.name: file.stat().st_mtime_ns for file in self.store.glob("*/*.pt")}

    def copy(self, folder: Path) -> "Workflow":
        """Copy everything, times and hard links included."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", self.folder, folder], check=True)
        return Workflow(folder)
