"""A workflow with nothing made yet, and a complete run of it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from workflow_run import Run, Workflow


@pytest.fixture
def workflow(raw: Path, tmp_path: Path) -> Workflow:
    """The tiny phantoms and nothing made yet; without embeddings unless the test configures an encoder."""
    new = Workflow(tmp_path / "run")
    shutil.copytree(raw, new.raw)
    new.configure(encoder={"name": "none"})
    return new


@pytest.fixture(scope="session")
def finished_once(
    raw: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workflow, Run, dict[str, Any]]:
    """A complete run with LiteMedSAM; never written to."""
    workflow = Workflow(tmp_path_factory.mktemp("finished") / "run")
    shutil.copytree(raw, workflow.raw)
    encoder = {"name": "lite_medsam", "checkpoint": str(checkpoint), "patients_per_job": 2}
    workflow.configure(encoder=encoder)
    return workflow, workflow.run(), encoder


@pytest.fixture
def finished(finished_once: tuple[Workflow, Run, dict[str, Any]], tmp_path: Path) -> Workflow:
    """A copy of a complete run, for a test to change."""
    return finished_once[0].copy(tmp_path / "run")


@pytest.fixture
def encoder(finished_once: tuple[Workflow, Run, dict[str, Any]]) -> dict[str, Any]:
    """The encoder that the complete run was configured with."""
    return finished_once[2]
