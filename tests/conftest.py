"""Fixtures for all tests: the demo's weights, the real sample, tiny phantoms, complete runs, nnU-Net's check.

A fixture itself imports what takes long to import, because pytest reads this file before it starts test processes.
"""

import importlib
import multiprocessing.dummy
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from gate import Gate
from once import once
from workflow_run import SERVER, Run, Workflow

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "checkpoints" / "lite_medsam.pth"
SAMPLE = ROOT.parent / "shared" / "acdc-sample"
REAL_PATIENTS = ("patient025", "patient099")
LONG_UNIT = ("encoders/test_batches.py", "evaluate/test_run.py", "train/test_fit.py", "verify/test_run.py")
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 8 * 2**30

# The suite tries the same cases every time; `--hypothesis-profile=fuzz` tries many more.
common = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("suite", max_examples=60, derandomize=True, database=None, **common)
settings.register_profile("fuzz", max_examples=8000, print_blob=True, **common)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options for how thorough some tests are."""
    parser.addoption("--each-damage", action="store_true", help="try every damage by itself, in tests/workflow")
    parser.addoption("--kill-rounds", type=int, default=1, help="how often each stage is killed, in tests/workflow")
    parser.addoption("--kill-seed", type=int, default=0, help="seed of the moments at which they are killed")
    parser.addoption("--times", type=int, default=1, help="how often the tests of timing are run")
    parser.addoption("--training-kills", type=int, default=2, help="how often training is killed, in tests/unit")
    parser.addoption("--slurm-patients", type=int, default=0, help="how many patients are submitted, in tests/slurm")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat the tests of timing as often as the option says."""
    times = metafunc.config.getoption("--times")
    if times > 1 and metafunc.definition.get_closest_marker("timing"):
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


def pytest_configure() -> None:
    """Put the tests' folders into memory if there is room, because the tests write a lot and wait for it."""
    if MEMORY.is_dir() and min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > MEMORY_NEEDED:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the unit tests that take longest before the others, so that no process is left with them at the end."""
    unit = ROOT / "tests/unit"
    items.sort(key=lambda item: unit in item.path.parents and item.path.relative_to(unit).as_posix() not in LONG_UNIT)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """Make the test processes forks of one server, so that what most of them import is imported once."""
    for spec in specs:
        spec.python = SERVER.python()


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The published LiteMedSAM weights."""
    if not CHECKPOINT.is_file():
        pytest.skip(f"{CHECKPOINT.relative_to(ROOT)} is missing; `make test` downloads it")
    return CHECKPOINT


@pytest.fixture(scope="session")
def sample() -> Path:
    """Six real patients with their published result. Their license keeps them out of the project."""
    if not SAMPLE.is_dir():
        pytest.skip("the real ACDC sample is not on this machine; its license keeps it out of the project")
    return SAMPLE


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tiny training patients and one testing patient; never written to."""
    from acdc_medsam.phantom.cohort import write_cohort

    def make(folder: Path) -> Path:
        write_cohort(folder, patients=3, testing=1, in_plane=(48, 40), depth=3)
        return folder

    return once(tmp_path_factory, "raw", make)


@pytest.fixture
def integrity(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """nnU-Net's own module for checking a dataset."""
    pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed; `make test` installs it")
    # `make test` installs nnunetv2 without the packages for training. Of those, this module uses only blosc2, in
    # annotations. New processes would lack this stand-in, so the checks run on threads.
    blosc2 = SimpleNamespace(ndarray=SimpleNamespace(NDArray=object))
    monkeypatch.setitem(sys.modules, "blosc2", blosc2)
    module = importlib.import_module("nnunetv2.experiment_planning.verify_dataset_integrity")
    monkeypatch.setattr(module, "multiprocessing", SimpleNamespace(get_context=lambda method: multiprocessing.dummy))
    return module


@pytest.fixture(scope="session")
def finished_once(
    raw: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workflow, Run, dict[str, Any]]:
    """A complete run with LiteMedSAM, most of whose volumes have a single slice; never written to."""
    from fewer_slices import keep_structures

    encoder = {"name": "lite_medsam", "checkpoint": str(checkpoint), "patients_per_job": 2}

    def make(folder: Path) -> tuple[Workflow, Run]:
        workflow = Workflow(folder / "run")
        shutil.copytree(raw, workflow.raw)
        keep_structures(workflow.raw / "training", "patient001", "patient002", "patient003")
        workflow.configure(encoder=encoder)
        return workflow, workflow.run()

    return *once(tmp_path_factory, "finished", make), encoder


@pytest.fixture(scope="session")
def undisturbed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A complete run on a patient with one slice and one with three, in batches of their own; never written to."""
    from acdc_medsam.phantom.cohort import write_cohort
    from fewer_slices import keep_structures

    def make(folder: Path) -> Workflow:
        workflow = Workflow(folder / "run")
        write_cohort(workflow.raw, patients=2, in_plane=(48, 40), depth=3)
        keep_structures(workflow.raw / "training", "patient001")
        workflow.configure(encoder={"name": "lite_medsam", "checkpoint": str(checkpoint), "patients_per_job": 1})
        workflow.environment = Gate(folder / "gate").environment
        workflow.run()
        return workflow

    return once(tmp_path_factory, "undisturbed", make)


@pytest.fixture(scope="session")
def real_images(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, Run]:
    """A complete run on the real sample, without embeddings; never written to."""

    def make(folder: Path) -> tuple[Workflow, Run]:
        workflow = Workflow(folder)
        shutil.copytree(sample / "training", workflow.raw / "training")
        workflow.configure(encoder={"name": "none"})
        return workflow, workflow.run()

    return once(tmp_path_factory, "real_images", make)


@pytest.fixture(scope="session")
def real(sample: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, Run]:
    """A complete run with LiteMedSAM on every fourth slice of two patients of the sample; never written to."""
    from fewer_slices import keep_slices

    def make(folder: Path) -> tuple[Workflow, Run]:
        workflow = Workflow(folder)
        for patient in REAL_PATIENTS:
            folder = Path(shutil.copytree(sample / "training" / patient, workflow.raw / "training" / patient))
            keep_slices(folder, slice(1, None, 4))
        workflow.configure(encoder={"name": "lite_medsam", "checkpoint": str(checkpoint)})
        return workflow, workflow.run()

    return once(tmp_path_factory, "real", make)
