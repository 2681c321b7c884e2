"""The exports of a small dataset."""

import shutil
from pathlib import Path

import pytest

from exported import Exports
from small_dataset import SmallDataset


@pytest.fixture
def exports(small: SmallDataset, raw: Path, tmp_path: Path) -> Exports:
    """A small dataset, and raw files of its own, since exports link to them."""
    return Exports(small, Path(shutil.copytree(raw, tmp_path / "raw")))
