"""A small published dataset for unit tests to look at and to harm."""

import shutil
from pathlib import Path

import pytest

from small_dataset import SmallDataset


@pytest.fixture(scope="session")
def made(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of the small dataset; never written to."""
    dataset = SmallDataset(tmp_path_factory.mktemp("made"))
    dataset.make(raw)
    return dataset.output


@pytest.fixture
def small(made: Path, tmp_path: Path) -> SmallDataset:
    """A published small dataset of the test's own."""
    shutil.copytree(made, tmp_path / "set")
    dataset = SmallDataset(tmp_path / "set")
    dataset.publish()
    return dataset


@pytest.fixture(scope="session")
def described_once(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published small dataset with all its documents; never written to."""
    folder = tmp_path_factory.mktemp("described") / "set"
    shutil.copytree(made, folder)
    small = SmallDataset(folder)
    small.publish()
    small.write_documents()
    return folder


@pytest.fixture(scope="session")
def trained(made: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset with a model that was trained on it, below ``training/``; never written to."""
    from trained import train  # imports Lightning, which other tests need not wait for

    folder = tmp_path_factory.mktemp("trained") / "set"
    shutil.copytree(made, folder)
    train(SmallDataset(folder), checkpoint)
    return folder
