"""Stand-in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acdc_medsam.formats.files import Written, write_bytes


def write_page(
    path: Path,
    template: Path,
    descriptions: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, Path],
    failed: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Written:
    """Write the page."""
    return write_bytes(path, repr((len(descriptions), dict(failed), dict(settings))).encode())
