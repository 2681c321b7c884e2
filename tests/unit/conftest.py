"""A small published dataset for unit tests to look at and to harm."""

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from once import once

if TYPE_CHECKING:
    from small_dataset import SmallDataset


def open_small(folder: Path) -> "SmallDataset":
    """Open a small dataset, whose class takes seconds to import; see the fixtures for all tests."""
    from small_dataset import SmallDataset

    return SmallDataset(folder)


@pytest.fixture(scope="session")
def made(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of the small dataset; never written to."""

    def make(folder: Path) -> Path:
        open_small(folder).make(raw)
        return folder

    return once(tmp_path_factory, "made", make)


@pytest.fixture
def small(made: Path, tmp_path: Path) -> "SmallDataset":
    """A published small dataset of the test's own."""
    shutil.copytree(made, tmp_path / "set")
    dataset = open_small(tmp_path / "set")
    dataset.publish()
    return dataset


@pytest.fixture(scope="session")
def reported_once(made: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published small dataset with its report; never written to."""

    def make(folder: Path) -> Path:
        shutil.copytree(made, folder)
        open_small(folder).report(raw)
        return folder

    return once(tmp_path_factory, "reported", make)


@pytest.fixture
def reported(reported_once: Path, tmp_path: Path) -> "SmallDataset":
    """A small dataset of the test's own, whose next report draws only what has changed."""
    subprocess.run(["cp", "--archive", reported_once, tmp_path / "set"], check=True)
    return open_small(tmp_path / "set")


@pytest.fixture(scope="session")
def described_once(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published small dataset with all its documents; never written to."""
    folder = tmp_path_factory.mktemp("described") / "set"
    shutil.copytree(made, folder)
    small = open_small(folder)
    small.publish()
    small.write_documents()
    return folder


@pytest.fixture(scope="session")
def trained(made: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset with a model that was trained on it, below ``training/``; never written to."""
    from trained import train  # imports Lightning, which other tests need not wait for

    def make(folder: Path) -> Path:
        shutil.copytree(made, folder)
        train(open_small(folder), checkpoint)
        return folder

    return once(tmp_path_factory, "trained", make)


@pytest.fixture(scope="session")
def published_h5(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H5 volumes and slices of the tiny patients as other repositories publish them; never written to."""
    from published_h5 import write_published

    return write_published(raw, tmp_path_factory.mktemp("published"))


@pytest.fixture
def h5_folder(published_h5: Path, tmp_path: Path) -> Path:
    """A copy of the published H5 files, for a test to change."""
    return Path(shutil.copytree(published_h5, tmp_path / "h5"))
