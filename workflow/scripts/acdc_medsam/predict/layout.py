"""Where predictions are: paths below their output folder."""

from pathlib import Path

TABLE, PAGE = "measurements.tsv", "report.html"
"""Names of the table and of the page on all scans of a run."""

DESCRIPTION = "description.json"


def mask_path(output: Path, name: str) -> Path:
    """Return the path of a scan's mask."""
    return output / "masks" / f"{name}.nii.gz"


def scan_folder(output: Path, name: str) -> Path:
    """Return the folder of a scan's description, pictures and records."""
    return output / "scans" / name


def mask_record(output: Path, name: str) -> Path:
    """Return the path of the record of a scan's mask."""
    return scan_folder(output, name) / "mask.json"
