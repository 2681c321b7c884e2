"""Stand-in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acdc_medsam.formats.files import Written, write_table


def write_measurements(path: Path, descriptions: Sequence[Mapping[str, Any]]) -> Written:
    """Write the table."""
    return write_table(path, ["name", "subject"], descriptions)
