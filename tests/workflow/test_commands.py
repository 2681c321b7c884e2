"""Every command of the README, as a user types it at the root of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"(?:`|^ +)(?:python -m )?((?:snakemake|acdc_medsam) [^`\n]+)", re.MULTILINE)
COMMANDS = sorted(set(COMMAND.findall((ROOT / "README.md").read_text())))


def run(command: list[str], folder: Path) -> str:
    # As from a shell, not as from the `make test` that may run this.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    process = subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def clone(folder: Path) -> Path:
    """The repository's own files, with the environment and weights of this checkout."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(bytes.decode, files)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / "checkpoints").symlink_to(ROOT / "checkpoints")
    return folder


@pytest.fixture(scope="module")
def root(raw: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with tiny patients where the README says, and LiteMedSAM in the place of MedSAM."""
    folder = clone(tmp_path_factory.mktemp("clone"))
    shutil.copytree(raw, folder / "ACDC/raw")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["encoder"] |= {"name": "lite_medsam", "checkpoint": "checkpoints/lite_medsam.pth"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_the_readme_has_the_commands_that_are_tested() -> None:
    assert {"snakemake --cores 16 --resources gpu=1", "acdc_medsam verify data/ACDC"} <= set(COMMANDS)
    assert len(COMMANDS) >= 7


# The real run first: the others need what it makes.
@pytest.mark.parametrize("command", sorted(COMMANDS, key=lambda command: "--cores" not in command))
def test_a_command_works(root: Path, command: str) -> None:
    output = run(["bash", "-c", f'"{sys.executable}" -m {command}'], root)
    if "--cores" in command:
        assert "report: data/ACDC/report.html" in output


def test_make_demo(checkpoint: Path, tmp_path: Path) -> None:
    if not (ROOT / ".venv/.ready").exists():
        pytest.skip("no .venv in this checkout; `make test` makes it")
    folder = clone(tmp_path)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    output = run(["make", "demo"], folder)
    last = output.strip().splitlines()[-2:]
    assert re.fullmatch(r"dataset: demo/out/data/ACDC, \d+ slices", last[0])
    assert last[1] == "report:  demo/out/data/ACDC/report.html"
    assert (folder / "demo/out/work/accepted.txt").read_text() == "18 checks passed\n"
