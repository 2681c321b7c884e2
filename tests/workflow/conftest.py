"""A workflow with nothing made yet, and a complete run of it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from gate import Gate
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


@pytest.fixture
def moments(undisturbed: Workflow) -> Gate:
    """The gate that the complete run on two patients passed: it knows what each job did, moment by moment."""
    return Gate(undisturbed.folder.with_name("gate"))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gate for the jobs of a run that the test holds."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def unmade(undisturbed: Workflow, tmp_path: Path) -> Workflow:
    """The same input, and nothing made of it."""
    new = Workflow(tmp_path / "run")
    shutil.copytree(undisturbed.raw, new.raw)
    shutil.copy(undisturbed.folder / "config.yaml", new.folder)
    return new


@pytest.fixture
def few(undisturbed: Workflow, tmp_path: Path) -> Workflow:
    """A copy of the complete run on few slices, for a test to change."""
    return undisturbed.copy(tmp_path / "run")
