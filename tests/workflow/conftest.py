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


@pytest.fixture
def finished(finished_once: tuple[Workflow, Run, dict[str, Any]], tmp_path: Path) -> Workflow:
    """A copy of a complete run, for a test to change."""
    return finished_once[0].copy(tmp_path / "run")


@pytest.fixture
def encoder(finished_once: tuple[Workflow, Run, dict[str, Any]]) -> dict[str, Any]:
    """The encoder that the complete run was configured with."""
    return finished_once[2]
