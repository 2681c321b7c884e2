"""Export sam_med2d: binary masks and lists of them, as OpenGVLab/SAM-Med2D reads them.

``TrainingDataset`` (DataLoader.py) reads ``image2label_train.json``, image -> its masks, and ``TestingDataset`` reads
``label2image_test.json``, mask -> its image. The paths start with the name of the folder, as those of the repository's
``data_demo`` do, so they hold wherever the folder is, if training starts in the folder above it.
"""

import json
import logging
from pathlib import Path

import numpy as np

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.exports.folder import Published, close_export, link_published, shows_structure
from acdc_medsam.exports.size import announce_size, link_bytes
from acdc_medsam.formats.files import Row, Written, read_table, write_bytes
from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.png import Gray, write_png
from acdc_medsam.layout import PIXEL_COLUMNS, published_splits

logger = logging.getLogger(__name__)

READER_SIZE = 256
"""Height and width in pixels that SAM-Med2D resizes images and masks to."""

FOREGROUND = 255
"""Value of a mask inside the structure."""


def export_sam_med2d(published: Published, folder: Path, index: Path, link: str) -> None:
    """Link the images, and write ``masks/<slice>_<structure>_000.png`` and the two lists of each split.

    Args:
        published: The published dataset.
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.
        link: How to link; see :func:`acdc_medsam.stages.publish.link_file`.

    Raises:
        AcdcError: There is too little space on the disk.
    """
    records = {record.path: record for record, _ in read_records(published.index)}
    rows = list(filter(shows_structure, read_table(published.manifest)))
    announce_size(folder, index, _sizes(published, rows, folder, records, link))

    files: list[Written] = []
    masks_of: dict[str, dict[str, list[str]]] = {split: {} for split in published_splits(rows)}
    lost = 0
    for row in rows:
        masks = _write_masks(folder, row, published.mask(row).read())
        lost += sum(int(row[column]) > 0 for column in PIXEL_COLUMNS.values()) - len(masks)
        if masks:
            image = _image_path(folder, row)
            files += [*masks, link_published(records[published.image(row).path], image, link)]
            names = [_name_below(folder, mask.path) for mask in masks]
            masks_of[row["split"]][_name_below(folder, image)] = names

    for split, masks_by_image in masks_of.items():
        image_by_mask = {mask: image for image, masks in masks_by_image.items() for mask in masks}
        for name, content in (("image2label", masks_by_image), ("label2image", image_by_mask)):
            text = json.dumps(content, indent=2) + "\n"
            files.append(write_bytes(folder / f"{name}_{split}.json", text.encode()))

    close_export(folder, index, files)
    logger.info("%d slices; %d masks are left out that vanish at %d pixels", len(rows), lost, READER_SIZE)


def _sizes(
    published: Published, rows: list[Row], folder: Path, records: dict[Path, Written], link: str
) -> dict[Path, int]:
    """Return file -> number of bytes that it takes at most."""
    sizes = {_image_path(folder, row): link_bytes(records[published.image(row).path], link) for row in rows}
    for row in rows:
        for structure in (name for name, column in PIXEL_COLUMNS.items() if int(row[column])):
            # The mask of one structure compresses to less than the one of all.
            sizes[_mask_path(folder, row, structure)] = records[published.mask(row).path].bytes
    return sizes


def _write_masks(folder: Path, row: Row, label: Gray) -> list[Written]:
    """Write a mask for each structure of a slice that SAM-Med2D will find in it.

    Images smaller than READER_SIZE are padded there, larger ones are resized by OpenCV's INTER_NEAREST, which takes
    the first pixel of each block. A mask that becomes empty would end the training.
    """
    height, width = label.shape
    if height >= READER_SIZE or width >= READER_SIZE:
        rows, columns = (np.arange(READER_SIZE) * side // READER_SIZE for side in (height, width))
        seen = label[np.ix_(rows, columns)]
    else:
        seen = label

    return [
        write_png(_mask_path(folder, row, structure), np.uint8(FOREGROUND) * (label == value))
        for structure, value in LABELS.items()
        if (seen == value).any()
    ]


def _image_path(folder: Path, row: Row) -> Path:
    return folder / "images" / f"{row['slice']}.png"


def _mask_path(folder: Path, row: Row, structure: str) -> Path:
    # SAM-Med2D numbers the objects of a class in an image; a heart has one of each.
    return folder / "masks" / f"{row['slice']}_{structure}_000.png"


def _name_below(folder: Path, path: Path) -> str:
    """Return the path of a file of the export that the lists have, relative to the folder above the export."""
    return path.relative_to(folder.parent).as_posix()
