"""Shared by all tests: where the project lies, the demo's weights, the real sample and a run on it, tiny phantoms."""

import shutil
from pathlib import Path

import pytest

from acdc_medsam.phantom import write_cohort
from workflow_run import Run, Workflow

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "checkpoints" / "lite_medsam.pth"
SAMPLE = ROOT.parent / "shared" / "acdc-sample"


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The published LiteMedSAM weights."""
    if not CHECKPOINT.is_file():
        pytest.skip(f"{CHECKPOINT.relative_to(ROOT)} is not there; `make test` fetches it")
    return CHECKPOINT


@pytest.fixture(scope="session")
def sample() -> Path:
    """Six real patients with their published result; they may not be passed on with the project."""
    if not SAMPLE.is_dir():
        pytest.skip("the real ACDC sample is not on this machine; its licence keeps it out of the project")
    return SAMPLE


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tiny training patients and a testing one; never written to."""
    folder = tmp_path_factory.mktemp("raw")
    write_cohort(folder, patients=3, testing=1, in_plane=(48, 40), depth=4)
    return folder


@pytest.fixture(scope="session")
def real(sample: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, Run]:
    """A complete run on the sample with LiteMedSAM; never written to."""
    workflow = Workflow(tmp_path_factory.mktemp("real"))
    (workflow.raw).mkdir()
    shutil.copytree(sample / "training", workflow.raw / "training")
    workflow.configure(encoder={"name": "lite_medsam", "checkpoint": str(checkpoint)})
    return workflow, workflow.run()
