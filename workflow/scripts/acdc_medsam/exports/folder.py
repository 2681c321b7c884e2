"""What all exports share: the split of whole patients, and a folder that holds no files of an earlier export."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from acdc_medsam.acdc.citation import NOTICE, NOTICE_NAME
from acdc_medsam.acdc.naming import VOLUME_PATTERN
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, Written, write_bytes
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.stages.publish import link_file

EXPORTED_NAME = re.compile(
    VOLUME_PATTERN + r"\w*\.(h5|nii\.gz|png|pt)|(train|val|test)(-\d{6}\.tar|(_slices)?\.list)|\..*\.tmp"
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


def link_published(record: Written, target: Path, link: str) -> Written:
    """Link a published file into an export; returns the record under its new name.

    Args:
        record: What the index of published files says of the file.
        target: Its name in the export.
        link: See :func:`acdc_medsam.stages.publish.link_file`.
    """
    link_file(record.path, target, link)
    return replace(record, path=target)


def close_export(folder: Path, index: Path, files: Sequence[Written]) -> None:
    """Add licence and citation, remove what an earlier export left, and write the export's index.

    Args:
        folder: Folder of the export.
        index: Declared output.
        files: The record of every file of the export.
    """
    notice = write_bytes(folder / NOTICE_NAME, NOTICE.encode())
    kept = {file.path for file in files}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in kept and EXPORTED_NAME.fullmatch(path.name):
            path.unlink()
    write_index(index, [index_row(file, index) for file in (*files, notice)])
