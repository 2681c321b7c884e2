"""The contents of the report: the published slices, their measures, and the outcome of the checks."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import GROUP_NAMES, LABELS
from acdc_medsam.acdc.naming import volume_name
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, read_table
from acdc_medsam.formats.index import read_records
from acdc_medsam.layout import PIXEL_COLUMNS, published_splits
from acdc_medsam.measures.records import Floats, Measures, merge_measures, read_measures


@dataclass(frozen=True)
class Contents:
    """The dataset that a report is about.

    Attributes:
        root: Folder of the published dataset.
        rows: The manifest, which has one row per slice.
        measures: The measures of all patients. Their slices and volumes may be in another order than ``rows``.
        quality: Content of ``quality.json``.
    """

    root: Path
    rows: Sequence[Row]
    measures: Measures
    quality: Mapping[str, Any]

    @cached_property
    def splits(self) -> list[str]:
        """Names of the splits: train and val always, and test if it has slices."""
        return published_splits(self.rows)

    @cached_property
    def groups(self) -> list[str]:
        """Names of the pathology groups that have slices."""
        return [group for group in GROUP_NAMES if any(row["group"] == group for row in self.rows)]

    @cached_property
    def shared(self) -> list[str]:
        """Patients with slices in more than one split, sorted."""
        pairs = {(row["patient"], row["split"]) for row in self.rows}
        splits = Counter(patient for patient, _ in pairs)
        return sorted(patient for patient, count in splits.items() if count > 1)

    @cached_property
    def volumes(self) -> dict[str, Row]:
        """Volume -> row of one of its slices."""
        # The columns that describe a volume are the same in the rows of all its slices.
        return {volume_name(row["patient"], int(row["frame"])): row for row in self.rows}

    @cached_property
    def depths(self) -> dict[str, int]:
        """Volume -> number of slices, including those without structures."""
        depths = dict(zip(self.measures.volumes.tolist(), self.measures.depths.tolist(), strict=True))
        return {volume: depths[volume] for volume in self.volumes}

    @cached_property
    def kept(self) -> Counter[str]:
        """Volume -> number of its slices in the dataset."""
        return Counter(volume_name(row["patient"], int(row["frame"])) for row in self.rows)

    @cached_property
    def has_spacing(self) -> bool:
        """Whether the spacing of every volume is known. Without it, sizes are given in pixels."""
        return all(row["spacing"] for row in self.rows)

    @cached_property
    def has_raw(self) -> bool:
        """Whether the raw intensities are known. They are not if the dataset was made from normalized H5 files."""
        return not np.isnan(self.measures.clip_levels).any()

    @cached_property
    def areas(self) -> dict[str, Floats]:
        """Structure -> (n,) its area in each slice, in ``area_unit``."""
        pixel = np.ones(len(self.rows))
        if self.has_spacing:
            pixel = np.array([np.prod([float(size) for size in row["spacing"].split()[1:]]) for row in self.rows])
        return {key: pixel * np.array([int(row[PIXEL_COLUMNS[key]]) for row in self.rows]) for key in LABELS}

    @property
    def area_unit(self) -> str:
        """Unit of ``areas``."""
        return "mm²" if self.has_spacing else "pixels"

    @cached_property
    def remarks(self) -> Counter[str]:
        """Remark in the manifest's column ``notes`` -> number of patients that it is made on."""
        pairs = {(row["patient"], note) for row in self.rows for note in row["notes"].split("; ") if note}
        return Counter(note for _, note in sorted(pairs))

    @cached_property
    def indices(self) -> npt.NDArray[np.intp]:
        """(n,) index in the measures of each row of the manifest."""
        index = {name: position for position, name in enumerate(self.measures.slices.tolist())}
        return np.array([index[row["slice"]] for row in self.rows], np.intp)

    def of_slices(self, measure: npt.NDArray[np.float64]) -> Floats:
        """Reorder a measure of slices, (n,) or (n, ...), to the order of the rows."""
        return measure[self.indices]

    def column(self, name: str) -> npt.NDArray[np.str_]:
        """Return a column of the manifest as an array (n,)."""
        return np.array([row[name] for row in self.rows], np.str_)

    def by_patient(self) -> dict[str, list[Row]]:
        """Group the rows by patient."""
        patients = defaultdict(list)
        for row in self.rows:
            patients[row["patient"]].append(row)
        return dict(patients)


def read_contents(manifest: Path, quality: Path, measures: Path) -> Contents:
    """Read the contents of a report.

    Args:
        manifest: The file ``manifest.tsv`` in the folder of the published dataset.
        quality: The file ``quality.json``.
        measures: The index of measures.

    Raises:
        DatasetError: The dataset has no slice, or a file is missing or damaged.
    """
    rows = read_table(manifest)
    if not rows:
        raise DatasetError(f"{manifest} lists no slice, so there is nothing to report on: run the workflow again")
    measured = merge_measures([read_measures(written) for written, _ in read_records(measures)])
    return Contents(manifest.parent, rows, measured, json.loads(quality.read_text(encoding="utf-8")))
