"""What the page is about: the published slices, what was measured of them, and the checks."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import GROUPS, LABELS
from acdc_medsam.acdc.naming import volume_name
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, read_table
from acdc_medsam.formats.index import read_records
from acdc_medsam.layout import PIXEL_COLUMNS, published_splits
from acdc_medsam.measures.records import Floats, Measures, merge_measures, read_measures


@dataclass(frozen=True)
class Contents:
    """The dataset.

    Attributes:
        root: folder of the published dataset.
        rows: the manifest, a row per slice.
        measures: of all patients; its slices and volumes may stand in another order.
        quality: content of ``quality.json``.
    """

    root: Path
    rows: Sequence[Row]
    measures: Measures
    quality: Mapping[str, Any]

    @cached_property
    def splits(self) -> list[str]:
        """The splits that there are: train and val always."""
        return published_splits(self.rows)

    @cached_property
    def groups(self) -> list[str]:
        """The pathology groups that there are."""
        return [group for group in GROUPS if any(row["group"] == group for row in self.rows)]

    @cached_property
    def shared(self) -> list[str]:
        """Patients that stand in more than one split."""
        pairs = {(row["patient"], row["split"]) for row in self.rows}
        return sorted(patient for patient, number in Counter(patient for patient, _ in pairs).items() if number > 1)

    @cached_property
    def volumes(self) -> dict[str, Row]:
        """Volume -> the row of one of its slices."""
        return {volume_name(row["patient"], int(row["frame"])): row for row in self.rows}

    @cached_property
    def depths(self) -> dict[str, int]:
        """Volume -> number of slices, those without structures too."""
        depths = dict(zip(self.measures.volumes.tolist(), self.measures.depths.tolist(), strict=True))
        return {volume: depths[volume] for volume in self.volumes}

    @cached_property
    def kept(self) -> Counter[str]:
        """Volume -> number of slices that were kept."""
        return Counter(volume_name(row["patient"], int(row["frame"])) for row in self.rows)

    @cached_property
    def areas(self) -> dict[str, Floats]:
        """Structure -> (n,) its area in each slice, in square millimetres."""
        pixel = np.array([np.prod([float(size) for size in row["spacing"].split()[1:]]) for row in self.rows])
        return {key: pixel * np.array([int(row[PIXEL_COLUMNS[key]]) for row in self.rows]) for key in LABELS}

    @cached_property
    def places(self) -> npt.NDArray[np.intp]:
        """(n,) for each row of the manifest its place in the measures."""
        place = {name: number for number, name in enumerate(self.measures.slices.tolist())}
        return np.array([place[row["slice"]] for row in self.rows], np.intp)

    def of_slices(self, measure: npt.NDArray[np.float64]) -> Floats:
        """Put a measure of slices, (n,) or (n, ...), into the order of the rows."""
        return measure[self.places]

    def column(self, name: str) -> npt.NDArray[np.str_]:
        """(n,) a column of the manifest."""
        return np.array([row[name] for row in self.rows], np.str_)

    def by_patient(self) -> dict[str, list[Row]]:
        """Patient -> its rows."""
        patients = defaultdict(list)
        for row in self.rows:
            patients[row["patient"]].append(row)
        return dict(patients)


def read_contents(manifest: Path, quality: Path, measures: Path) -> Contents:
    """Read the manifest, ``quality.json`` and the index of measures.

    Raises:
        DatasetError: there is no slice, or a file is missing.
    """
    rows = read_table(manifest)
    if not rows:
        raise DatasetError(f"{manifest} lists no slice, so there is nothing to report on: run the workflow again")
    measured = merge_measures([read_measures(written) for written, _ in read_records(measures)])
    return Contents(manifest.parent, rows, measured, json.loads(quality.read_text(encoding="utf-8")))
