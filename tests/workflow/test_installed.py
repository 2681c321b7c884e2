"""The wheel runs without a checkout: it has every file of the workflow once, and the demo in an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import yaml

from acdc_medsam.formats.index import read_index_comments
from workflow_run import ROOT

WORKFLOW = ("Snakefile", "config.yaml", "demo", "envs", "profiles", "workflow")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the files of the repository alone, as from a clone."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in repository_files("."):
        (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "clone" / name)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=folder / "clone", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return next(folder.glob("acdc_medsam-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the wheel, and with all packages of this interpreter but the checkout's."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    zipfile.ZipFile(wheel).extractall(packages)
    # Such a file only adds paths, so packages that are installed as editable in this environment are not found.
    own = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (packages / "environment.pth").write_text("\n".join(sorted(own)))
    return folder / "bin/python"


def repository_files(*paths: str) -> list[str]:
    """Names of the repository's files below some paths."""
    listed = subprocess.run(["git", "ls-files", "-z", *paths], cwd=ROOT, capture_output=True, check=True).stdout
    return [name for name in map(bytes.decode, listed.split(b"\0")) if name and (ROOT / name).exists()]


def run(python: Path, folder: Path, *arguments: str) -> str:
    """Run the installed command without a search path in the environment, and return its output."""
    command = ["env", "--unset=PYTHONPATH", str(python), "-m", "acdc_medsam", *arguments]
    process = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.returncode == 0, process.stdout
    return process.stdout


def test_the_wheel_has_every_file_of_the_workflow_once(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    expected = Counter(str((ROOT / name).read_bytes()) for name in repository_files(*WORKFLOW))
    assert Counter(map(str, packed.values())) == expected
    for name, content in packed.items():
        inside = name.removeprefix("acdc_medsam/project/")
        source = inside if inside != name else f"workflow/scripts/{name}"
        assert content == (ROOT / source).read_bytes(), name


def test_the_demo_runs_in_an_empty_folder(python: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").symlink_to(checkpoint.parent)
    output = run(python, tmp_path, "demo", "--patients", "2", "--depth", "3")
    assert "slices in demo/out/data/ACDC; report: demo/out/data/ACDC/report.html" in output
    assert read_index_comments(tmp_path / "demo/out/work/accepted.tsv").notes == ("19 checks passed",)
    assert str(ROOT / "workflow") not in output, "no file of the checkout is used"
    assert "files match provenance.json" in run(python, tmp_path, "verify", "demo/out/data/ACDC")


def test_a_configuration_is_written_and_used(python: Path, raw: Path, tmp_path: Path) -> None:
    run(python, tmp_path, "init", "mine")
    path = tmp_path / "mine/config.yaml"
    assert path.read_bytes() == (ROOT / "config.yaml").read_bytes()
    path.write_text(yaml.safe_dump({"raw": str(raw), "output": "made"}))
    output = run(python, tmp_path / "mine", "run", "volumes", "--dry-run", "--cores", "1")
    assert "normalize patient001" in output and "made/work/h5/patient001/index.tsv" in output


@pytest.mark.parametrize("written", ["--profile slurm", "--profile=slurm"])
def test_a_profile_is_found_from_any_folder(python: Path, raw: Path, tmp_path: Path, written: str) -> None:
    pytest.importorskip("snakemake_executor_plugin_slurm")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"raw": str(raw)}))
    output = run(python, tmp_path, "run", *written.split(), "volumes", "--dry-run")
    assert "project/profiles/slurm" in output and "normalize patient001" in output


def test_the_help_needs_no_heavy_library(python: Path, tmp_path: Path) -> None:
    heavy = ("numpy", "torch", "snakemake", "h5py", "yaml", "jsonschema")
    code = (
        f"import sys; from acdc_medsam.cli import main; main(['--help']); sys.exit(any(map(sys.modules.get, {heavy})))"
    )
    process = subprocess.run(
        [str(python), "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert "Commands:" in process.stdout


def test_another_workflow_imports_the_installed_one(python: Path, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        "from acdc_medsam.project import PROJECT\n"
        "module acdc:\n"
        "    snakefile: f'{PROJECT}/Snakefile'\n"
        f"    config: dict(raw={str(raw)!r}, encoder=dict(name='none'))\n"
        "    prefix: 'prepared'\n"
        "use rule * from acdc as acdc_*\n"
    )
    command = ["env", "--unset=PYTHONPATH", str(python), "-m", "snakemake", "--cores", "2", "--dry-run"]
    process = subprocess.run(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.returncode == 0, process.stdout
    assert "prepared/data/ACDC/provenance.json" in process.stdout
