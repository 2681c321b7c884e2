"""A checkout runs its own code, whichever version of the package is installed."""

import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import h5py
import pytest

from workflow_run import ROOT, Run, Workflow

OTHER = 'raise ImportError("another version of acdc_medsam was imported")\n'


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with all packages of this one, and with another `acdc_medsam`, which cannot be imported."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    (packages / "acdc_medsam").mkdir()
    (packages / "acdc_medsam/__init__.py").write_text(OTHER)

    # Such a file only adds paths, so packages that are installed as editable in this environment are not found.
    own = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (packages / "environment.pth").write_text("\n".join(sorted(own)))
    return folder / "bin/python"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of the workflow, with a version number that no other copy has."""
    folder = tmp_path / "checkout"
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)

    package = folder / "workflow/scripts/acdc_medsam/__init__.py"
    package.write_text(package.read_text() + '\n__version__ = "of this checkout"\n')
    return folder


def run(python: Path, checkout: Path, workflow: Workflow, target: str, expect: int) -> Run:
    """Run a target without a search path in the environment.

    Args:
        python: Interpreter that runs Snakemake.
        checkout: Folder of the workflow's files.
        workflow: Workflow that is run.
        target: Target of the run.
        expect: Exit status that is expected.
    """
    snakefile = ["--snakefile", str(checkout / "Snakefile"), "--configfile", "config.yaml"]
    process = subprocess.run(
        ["env", "--unset=PYTHONPATH", str(python), "-m", "snakemake", *snakefile, "--cores", "2", target],
        cwd=workflow.folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.returncode == expect, process.stdout
    return Run(process.returncode, process.stdout)


def test_the_interpreter_finds_the_other_version(python: Path, tmp_path: Path) -> None:
    command = ["env", "--unset=PYTHONPATH", str(python), "-c", "import torch, snakemake, acdc_medsam"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.stderr.strip().endswith("ImportError: another version of acdc_medsam was imported")


def test_jobs_run_the_code_of_the_checkout(python: Path, checkout: Path, workflow: Workflow) -> None:
    run(python, checkout, workflow, "volumes", expect=0)
    volumes = sorted(workflow.folder.glob("work/h5/*/volumes/*.h5"))
    assert len(volumes) == 4
    for path in volumes:
        with h5py.File(path) as file:
            assert file.attrs["software"] == "acdc-medsam of this checkout"


def test_the_code_of_the_checkout_checks_the_weights(python: Path, checkout: Path, workflow: Workflow) -> None:
    """The check of the other version would report nothing, so the first job would start."""
    (workflow.folder / "weights.pth").write_text("no weights")
    workflow.configure(encoder={"name": "lite_medsam", "checkpoint": "weights.pth"})
    stopped = run(python, checkout, workflow, "embeddings", expect=1)
    assert "save the state_dict() of your own model alone" in stopped.output and stopped.jobs == []
