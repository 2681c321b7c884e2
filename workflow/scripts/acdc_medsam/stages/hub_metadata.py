"""The files ``metadata.csv``, which tell the library ``datasets`` and the Hugging Face hub what belongs to each slice.

The image folder builder of ``datasets`` makes one example of each row. A column whose name ends in ``file_name`` holds
paths relative to the folder of the table, and becomes a column of images.

Source: https://huggingface.co/docs/datasets/image_dataset. Versions before 3.4 take one column of files only, and
versions before 4.6 do not understand how pandas 3 reads texts.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from acdc_medsam.formats.files import Row, Written, write_bytes
from acdc_medsam.layout import METADATA_COLUMNS, metadata_files

NO_FOLD = "-1"
"""Fold of testing patients in ``metadata.csv``. An empty value would turn the folds into floating-point numbers."""


def write_metadata(output: Path, manifest: Sequence[Row]) -> list[Written]:
    """Write ``metadata.csv`` into the folder of each split that has slices.

    Args:
        output: Root of the published layout.
        manifest: The rows of the manifest.

    Returns:
        The records of the files.
    """
    rows = [_describe_slice(row) for row in manifest]
    # The type of each column is inferred from its values, for each split by itself, and all splits must agree. So a
    # column without a value for some slice, such as the remarks on the few patients that have one, is left out.
    columns = [column for column in METADATA_COLUMNS if all(row[column] for row in rows)]

    files = []
    for path in metadata_files(manifest):
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in rows if row["split"] == path.parent.name)
        files.append(write_bytes(output / path, text.getvalue().encode()))
    return files


def _describe_slice(row: Row) -> Row:
    """Return a row of the manifest with the paths of image and mask, relative to the folder of its split."""
    name = f"{row['slice']}.png"
    return row | {
        "file_name": f"images/{name}",
        "mask_file_name": f"masks/{name}",
        "fold": row["fold"] or NO_FOLD,
    }
