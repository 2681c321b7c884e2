"""What all exports share: their source, the split of whole patients, and how the folder of an export is finished."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from acdc_medsam.acdc.citation import NOTICE, NOTICE_NAME
from acdc_medsam.acdc.naming import CINE_ENDING, PATIENT_PATTERN, SUBSETS, VOLUME_PATTERN, h5_folder
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, Written, write_bytes
from acdc_medsam.formats.index import index_row, read_records, write_index
from acdc_medsam.formats.png import GrayFile
from acdc_medsam.layout import PIXEL_COLUMNS, PNG_IMAGE_SHA256
from acdc_medsam.stages.publish import link_file

EXPORTED_NAME = re.compile(
    VOLUME_PATTERN + r"\w*\.(h5|nii\.gz|png|pt|npy|npz)|pe\.pt|\..*\.tmp"
    rf"|{PATIENT_PATTERN.pattern}{CINE_ENDING}_slice_\d+\.npz|(train|val|test)_videos\.txt"
    r"|c\.\d+\.0\.0\.0|zarr\.json|(train|val|test)(-\d{6}\.tar|(_slices)?\.list|\.txt)|(image2label|label2image)_(train|val|test)\.json"
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

    def image(self, row: Row) -> GrayFile:
        """Return the image of a slice, which is a row of the manifest."""
        return self._png("images", row, PNG_IMAGE_SHA256)

    def mask(self, row: Row) -> GrayFile:
        """Return the mask of a slice, which is a row of the manifest."""
        return self._png("masks", row, "mask_sha256")

    def h5(self, kind: str) -> list[Written]:
        """Return the records of the H5 files of one of H5_KINDS."""
        folders = {h5_folder(subset, kind).name for subset in SUBSETS}
        records = [record for record, _ in read_records(self.index)]
        return [record for record in records if record.path.parent.name in folders]

    def _png(self, kind: str, row: Row, column: str) -> GrayFile:
        return GrayFile(self.manifest.parent / row["split"] / kind / f"{row['slice']}.png", row[column])


def shows_structure(row: Row) -> bool:
    """Whether a slice, which is a row of the manifest, shows any structure; see ``images.keep_empty``."""
    return any(int(row[column]) for column in PIXEL_COLUMNS.values())


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
