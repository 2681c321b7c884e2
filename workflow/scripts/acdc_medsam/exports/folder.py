"""What all exports share: their source, the split of whole patients, and how the folder of an export is finished."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Published:
    """The published dataset that an export is made from.

    Attributes:
        manifest: ``manifest.tsv``, in the root of the dataset.
        index: Index of the published files.
    """

    manifest: Path
    index: Path


def split_of_patients(rows: Sequence[Row]) -> dict[str, str]:
    """Return the split of each patient, in the order of the manifest.

    Args:
        rows: Rows of the manifest.

    Raises:
        DatasetError: A patient has slices in more than one split, so its volumes belong to none.
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
    """Link a published file into an export.

    Args:
        record: Record of the file in the index of published files.
        target: Path of the file in the export.
        link: How to link; see :func:`acdc_medsam.stages.publish.link_file`.

    Returns:
        The record of the file in the export.
    """
    link_file(record.path, target, link)
    return replace(record, path=target)


def close_export(folder: Path, index: Path, files: Sequence[Written]) -> None:
    """Add license and citation, remove what an earlier export left, and write the index.

    Args:
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.
        files: Record of every file of the export.
    """
    notice = write_bytes(folder / NOTICE_NAME, NOTICE.encode())

    # Deepest first, so that a folder whose files have gone is empty when its turn comes.
    current = {file.path for file in files}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in current and EXPORTED_NAME.fullmatch(path.name):
            path.unlink()

    write_index(index, [index_row(file, index) for file in (*files, notice)])
