"""Facts about patients that H5 files do not hold, and the table ``patients.tsv`` in which a user may state them."""

import csv
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import GROUPS, PHASES, UNKNOWN_GROUP
from acdc_medsam.acdc.naming import PATIENT_PATTERN
from acdc_medsam.errors import CohortError
from acdc_medsam.formats.files import Row, parse_table

FACTS_NAME = "patients.tsv"
"""Name of the table, which stands in the raw folder."""

COLUMNS = ("patient", "group", "height", "weight", "ed", "es", "spacing", "affine")
"""Columns of the table; all but the first are optional, and so is each cell."""

MAX_FACTS_BYTES = 2**20
"""Size of the largest table that is read; one line for each of ACDC's 150 patients takes 30 kB."""


@dataclass(frozen=True)
class Facts:
    """What is known of a patient.

    Attributes:
        group: One of GROUPS, UNKNOWN_GROUP, or None if nothing is said about the group.
        height: Height in cm, NaN if unknown.
        weight: Weight in kg, NaN if unknown.
        phases: Number of the frame -> ED or ES, for both frames; None if the phases are unknown.
        spacing: Voxel spacing (z, y, x) in mm; None if it is unknown.
        affine: (4, 4), from voxels (x, y, z) to mm; None if it is unknown.
    """

    group: str | None
    height: float
    weight: float
    phases: dict[int, str] | None
    spacing: tuple[float, float, float] | None
    affine: npt.NDArray[np.float64] | None


def read_facts(raw: Path) -> dict[str, Row]:
    """Read ``patients.tsv``, if there is one.

    Args:
        raw: The raw folder.

    Returns:
        Patient -> column -> content of the cell, for cells that are not empty.

    Raises:
        CohortError: The table cannot be read, or has unknown columns, or a line that is about no patient.
    """
    path = raw / FACTS_NAME
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_FACTS_BYTES + 1)
        # Before parsing, because what was cut off would be reported as a damaged table.
        if len(data) > MAX_FACTS_BYTES:
            raise CohortError(f"{path} is longer than {MAX_FACTS_BYTES} bytes; keep one line for each patient")
        rows = parse_table(data.removeprefix(b"\xef\xbb\xbf"))
    except (OSError, ValueError, csv.Error) as error:
        raise CohortError(
            f"{path} is not a readable table of tab-separated text in UTF-8 ({error}); save it as one"
        ) from error

    unknown = sorted(set(rows[0]) - set(COLUMNS)) if rows else []
    if unknown or (rows and "patient" not in rows[0]):
        found = f"unknown columns {', '.join(map(repr, unknown))}" if unknown else "no column 'patient'"
        raise CohortError(f"{path} has {found}; its columns are {', '.join(COLUMNS)}, separated by tabs")

    facts: dict[str, Row] = {}
    for row in rows:
        name = row["patient"].strip()
        if not PATIENT_PATTERN.fullmatch(name) or name in facts:
            reason = "is listed twice" if name in facts else "is no patient's name such as 'patient001'"
            raise CohortError(f"{path}: {name!r} {reason}; correct its line")
        facts[name] = {key: text.strip() for key, text in row.items() if key != "patient" and text.strip()}
    return facts


def parse_facts(cells: Mapping[str, str], frames: Collection[int]) -> Facts:
    """Parse what a row of the table says about a patient.

    Args:
        cells: Column of the table -> content of the cell; columns without content are left out.
        frames: Numbers of the patient's two frames.

    Raises:
        CohortError: A cell cannot be used; the message names the column and what is expected.
    """
    group = cells.get("group")
    if group is not None and group not in (*GROUPS, UNKNOWN_GROUP):
        raise CohortError(f"group is {group!r}; it must be one of {', '.join(GROUPS)}")

    affine = None
    spacing = None
    if "affine" in cells:
        affine = _parse_numbers(cells, "affine", 16, "row by row, the last four 0 0 0 1").reshape(4, 4)
        if not np.array_equal(affine[3], (0, 0, 0, 1)) or np.linalg.det(affine) == 0:
            raise CohortError(
                "affine is not a matrix from voxels to mm; give 16 numbers row by row, the last four 0 0 0 1"
            )
        # Columns of the affine belong to x, y and z.
        spacing = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    if "spacing" in cells:
        spacing = _parse_numbers(cells, "spacing", 3, "in mm, in the order z y x")
        if not (spacing > 0).all():
            raise CohortError(f"spacing is {cells['spacing']!r}; expected 3 positive numbers in mm, in the order z y x")

    return Facts(
        group=group,
        height=_parse_size(cells, "height"),
        weight=_parse_size(cells, "weight"),
        phases=_parse_phases(cells, frames),
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        affine=affine,
    )


def _parse_numbers(cells: Mapping[str, str], column: str, count: int, words: str) -> npt.NDArray[np.float64]:
    """Parse a cell of finite numbers that are separated by blanks."""
    try:
        numbers = np.array([float(text) for text in cells[column].split()])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise CohortError(f"{column} is {cells[column]!r}; expected {count} numbers {words}")
    return numbers


def _parse_size(cells: Mapping[str, str], column: str) -> float:
    """Parse a height or weight; NaN, the mark of an unknown one, if nothing is said about it."""
    if column not in cells:
        return math.nan
    size = float(_parse_numbers(cells, column, 1, "or none")[0])
    if size <= 0:
        raise CohortError(f"{column} is {cells[column]!r}; expected a positive number")
    return size


def _parse_phases(cells: Mapping[str, str], frames: Collection[int]) -> dict[int, str] | None:
    """Parse the numbers of the ED and the ES frame. The number of one is enough, because there are two frames."""
    numbers = {}
    for phase in PHASES:
        if phase.lower() in cells:
            text = cells[phase.lower()]
            if not text.isascii() or not text.isdigit() or int(text) not in frames:
                shown = " and ".join(map(str, sorted(frames)))
                raise CohortError(f"{phase.lower()} is {text!r}; expected the number of one of the frames, {shown}")
            numbers[int(text)] = phase
    if len(numbers) == 1 and all(phase.lower() in cells for phase in PHASES):
        raise CohortError("ed and es are the same frame; correct one of them")
    if not numbers:
        return None

    known, phase = next(iter(numbers.items()))
    other = PHASES[1 - PHASES.index(phase)]
    return {frame: phase if frame == known else other for frame in frames}
