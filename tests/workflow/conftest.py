"""Workflows before their first run, copies of complete runs, and gates for their jobs."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from gate import Gate
from workflow_run import Run, Workflow


@pytest.fixture
def workflow(raw: Path, tmp_path: Path) -> Workflow:
    """A workflow on two tiny phantoms before its first run; it makes no embeddings unless the test configures them."""
    new = Workflow(tmp_path / "run")
    for patient in ("patient001", "patient002"):
        shutil.copytree(raw / "training" / patient, new.raw / "training" / patient)
    new.configure(encoder={"name": "none"}, images={"size": 64})
    return new


@pytest.fixture
def finished(finished_once: tuple[Workflow, Run, dict[str, Any]], tmp_path: Path) -> Workflow:
    """A copy of a complete run, for a test to change."""
    return finished_once[0].copy(tmp_path / "run")


@pytest.fixture
def encoder(finished_once: tuple[Workflow, Run, dict[str, Any]]) -> dict[str, Any]:
    """The configuration of the encoder in the complete run."""
    return finished_once[2]


@pytest.fixture
def moments(undisturbed: Workflow) -> Gate:
    """The gate of the complete run on two patients, with the moments of each of its jobs."""
    return Gate(undisturbed.folder.with_name("gate"))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gate that holds the jobs of a run for the test."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def fresh(undisturbed: Workflow, tmp_path: Path) -> Workflow:
    """A workflow with the input of the complete run on few slices, before its first run."""
    new = Workflow(tmp_path / "run")
    shutil.copytree(undisturbed.raw, new.raw)
    shutil.copy(undisturbed.folder / "config.yaml", new.folder)
    return new


@pytest.fixture
def small_run(undisturbed: Workflow, tmp_path: Path) -> Workflow:
    """A copy of the complete run on few slices, for a test to change."""
    return undisturbed.copy(tmp_path / "run")
