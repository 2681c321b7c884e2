"""Table in which a user states the split of each patient, for ``split.scheme: file``."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from acdc_medsam.acdc.naming import PATIENT_PATTERN
from acdc_medsam.errors import ConfigError
from acdc_medsam.layout import SPLITS
from acdc_medsam.runtime.outside import require_announced

COLUMNS = ("patient", "split")

MAX_SPLIT_FILE_BYTES = 2**20
"""Size of the largest table that is read; one line for each of ACDC's 150 patients takes 2.5 kB."""


class Listed(NamedTuple):
    """What the table says about a patient.

    Attributes:
        split: One of SPLITS.
        line: Number of the line, counted from 1.
    """

    split: str
    line: int


def read_split_file(path: Path, announced: str | None = None) -> dict[str, Listed]:
    """Read the table. It is tab-separated, with the header ``patient split``; empty lines and comments (#) are skipped.

    Args:
        path: The table.
        announced: Hex sha256 of the table when the run was planned; None for any.

    Returns:
        Patient -> what the table says, in the order of the lines.

    Raises:
        ConfigError: The table cannot be read, or a line of it cannot be used.
        DatasetError: The table has changed since the run was planned.
    """
    data = _read_bytes(path)
    require_announced(path, hashlib.sha256(data).hexdigest(), announced)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"split.file: {path} is not text in UTF-8 ({error}); save it as one") from error

    lines = ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
    cells = [(number, [cell.strip() for cell in line.split("\t")]) for number, line in lines if line[0] != "#"]
    if not cells or sorted(cells[0][1]) != sorted(COLUMNS):
        number, found = cells[0] if cells else (1, [])
        raise ConfigError(
            f"{path}, line {number}: the header is {' '.join(found)!r}; give the columns 'patient' and 'split', with a "
            "tab between them"
        )

    header = cells[0][1]
    listed: dict[str, Listed] = {}
    for number, row in cells[1:]:
        if len(row) != len(header):
            raise ConfigError(f"{path}, line {number}: {len(row)} columns instead of 2; put one tab between them")
        patient, split = (row[header.index(column)] for column in COLUMNS)
        _require_usable_line(path, number, patient, split, listed)
        listed[patient] = Listed(split, number)
    return listed


def _read_bytes(path: Path) -> bytes:
    try:
        # Opening a pipe would wait for whoever writes to it.
        if not path.is_file():
            raise ConfigError(f"split.file: there is no file {path}; correct its name in config.yaml")
        with path.open("rb") as handle:
            data = handle.read(MAX_SPLIT_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"split.file: {path} cannot be read ({error.strerror}); let this user read it, or name another file"
        ) from error
    if len(data) > MAX_SPLIT_FILE_BYTES:
        raise ConfigError(
            f"split.file: {path} is longer than {MAX_SPLIT_FILE_BYTES} bytes; keep one line for each patient"
        )
    return data


def _require_usable_line(path: Path, number: int, patient: str, split: str, listed: Mapping[str, Listed]) -> None:
    """Refuse a line whose patient or split is unknown, or whose patient is listed on an earlier line."""
    if not PATIENT_PATTERN.fullmatch(patient):
        raise ConfigError(f"{path}, line {number}: {patient!r} is no patient's name such as 'patient001'")
    if patient in listed:
        raise ConfigError(f"{path}, line {number}: {patient} is on line {listed[patient].line} already; keep one line")
    if split not in SPLITS:
        raise ConfigError(f"{path}, line {number}: {patient} is in {split!r}; expected one of {', '.join(SPLITS)}")


def require_listed_patients_exist(path: Path, listed: Mapping[str, Listed], known: Collection[str]) -> None:
    """Refuse a table that names patients who do not exist, which is most likely a mistake in a name.

    Args:
        path: The table.
        listed: What the table says.
        known: Patients in the raw folder, including those that are left out.

    Raises:
        ConfigError: The table names others.
    """
    strangers = [f"{patient} (line {entry.line})" for patient, entry in listed.items() if patient not in known]
    if strangers:
        raise ConfigError(
            f"{path} lists patients that are not in the raw folder: {', '.join(strangers)}; correct the names, or "
            "remove the lines"
        )
