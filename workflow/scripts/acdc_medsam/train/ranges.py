"""Ranges of what a model was trained on, with which a scan can be compared before its masks are trusted."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from acdc_medsam.acdc.naming import volume_of
from acdc_medsam.data.assignment import Assignment
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row
from acdc_medsam.formats.png import read_gray


def measure_ranges(data: Path, rows: Iterable[Row], assignment: Assignment) -> dict[str, Any] | None:
    """Measure the ranges of the volumes that a model is trained on.

    Args:
        data: The folder of the dataset.
        rows: Rows of the manifest.
        assignment: Which slices belong to which split.

    Returns:
        The number of ``volumes``; and the ``low`` and ``high`` end, over the volumes, of the ``spacing`` (z, y, x) in
        mm and of ``gray``, the mean of a volume's images in [0, 1]. None if a spacing is unknown or an image cannot be
        read, which training does not need.
    """
    spacings = dict[str, list[float]]()
    grays = defaultdict[str, list[float]](list)
    try:
        for row in (row for row in rows if assignment.split_of(row) == "train"):
            volume = volume_of(row["slice"])
            z, y, x = (float(size) for size in row["spacing"].split())
            spacings[volume] = [z, y, x]
            image = read_gray(data / row["split"] / "images" / f"{row['slice']}.png")
            grays[volume].append(float(image.mean()) / 255)
    except (DatasetError, KeyError, OSError, ValueError):
        return None

    values = {"spacing": np.array(list(spacings.values())), "gray": np.array([np.mean(one) for one in grays.values()])}
    ends = {key: {"low": of_all.min(0).tolist(), "high": of_all.max(0).tolist()} for key, of_all in values.items()}
    return {"volumes": len(spacings), **ends}
