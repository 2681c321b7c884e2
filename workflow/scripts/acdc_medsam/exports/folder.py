"""What all exports share: the split of whole patients, and a folder that holds no files of an earlier export."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from acdc_medsam.citation import NOTICE, NOTICE_NAME
from acdc_medsam.errors import DatasetError
from acdc_medsam.files import Row, index_row, read_table, write_bytes, write_index

OWN_NAME = re.compile(
    r"patient\d{3,}_frame\d{2,}\w*\.(h5|nii\.gz|png|pt)|(train|val|test)(-\d{6}\.tar|(_slices)?\.list)|\..*\.tmp"
)
"""Names that exports give to files whose number depends on the dataset; only these are ever removed."""


def split_of_patients(rows: Sequence[Row]) -> dict[str, str]:
    """Patient -> split, in the order of the manifest.

    Raises:
        DatasetError: a patient is in more than one split, so that whole volumes have none.
    """
    splits: dict[str, str] = {}
    for row in rows:
        if splits.setdefault(row["patient"], row["split"]) != row["split"]:
            raise DatasetError(
                f"{row['patient']} is in {splits[row['patient']]} and in {row['split']}, and this export is of whole "
                "volumes; set 'split: {unit: patient}' in config.yaml"
            )
    return splits


def published_digests(published: Path) -> Mapping[Path, str]:
    """Published file -> sha256, from the index of published files."""
    return {Path(os.path.normpath(published.parent / row["file"])): row["sha256"] for row in read_table(published)}


def close_export(folder: Path, index: Path, files: Mapping[Path, str | None]) -> None:
    """Add licence and citation, remove what an earlier export left, and write the export's index.

    Args:
        folder: of the export.
        index: declared output.
        files: every file of the export -> its sha256, None where it is not known yet.
    """
    notice = folder / NOTICE_NAME
    write_bytes(notice, NOTICE.encode())
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in files and OWN_NAME.fullmatch(path.name):
            path.unlink()
    write_index(index, [index_row(file, index, sha256) for file, sha256 in {**files, notice: None}.items()])
