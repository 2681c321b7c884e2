"""The ranges of what a model was trained on."""

from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.data.assignment import Assignment
from acdc_medsam.formats.files import Row
from acdc_medsam.formats.png import write_png
from acdc_medsam.train.ranges import measure_ranges

TAUGHT = Assignment({"patient001": "train", "patient002": "train", "patient003": "val"})


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Slices of three patients, and their images below ``tmp_path``."""
    slices = {1: ("10 1.5 1.5", (40, 60)), 2: ("5 1.25 1.25", (102, 102)), 3: ("8 3 3", (255, 255))}
    rows = []
    for number, (spacing, grays) in slices.items():
        patient = f"patient{number:03d}"
        for index, gray in enumerate(grays):
            name = f"{patient}_frame01_slice_{index}"
            write_png(tmp_path / "train/images" / f"{name}.png", np.full((8, 8), gray, np.uint8))
            rows.append({"slice": name, "patient": patient, "split": "train", "spacing": spacing})
    return rows


def test_the_ranges_by_hand(rows: list[Row], tmp_path: Path) -> None:
    assert measure_ranges(tmp_path, rows, TAUGHT) == {
        "volumes": 2,
        "spacing": {"low": [5, 1.25, 1.25], "high": [10, 1.5, 1.5]},
        "gray": {"low": pytest.approx(50 / 255), "high": pytest.approx(0.4)},
    }


def test_there_are_none_if_something_is_unknown(rows: list[Row], tmp_path: Path) -> None:
    assert measure_ranges(tmp_path, [rows[0] | {"spacing": ""}], TAUGHT) is None
    (tmp_path / "train/images" / f"{rows[0]['slice']}.png").unlink()
    assert measure_ranges(tmp_path, rows, TAUGHT) is None
