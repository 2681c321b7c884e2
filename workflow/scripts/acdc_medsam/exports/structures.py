"""Export structures: the dataset once per structure, with binary masks, for training code that learns one at a time.

The folders are ``<split>/{RV,MYO,LV}/{images,masks,image_embeddings}`` and ``positional_encoding``. A slice is left out
of the structures that it does not show.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.exports.folder import Published, close_export, link_published
from acdc_medsam.exports.size import announce_size, link_bytes
from acdc_medsam.formats.files import Row, Written, read_table
from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.png import write_png
from acdc_medsam.layout import DATASET, PIXEL_COLUMNS, POSITIONAL_ENCODING

logger = logging.getLogger(__name__)


def export_structures(
    published: Published, folder: Path, index: Path, link: str, structures: Sequence[str] = tuple(LABELS)
) -> None:
    """Write binary masks, 1 inside the structure and 0 elsewhere, and link the images and embeddings.

    Args:
        published: The published dataset.
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.
        link: How to link; see :func:`acdc_medsam.stages.publish.link_file`.
        structures: Names of the structures, all of them keys of LABELS.

    Raises:
        AcdcError: There is too little space on the disk.
    """
    records = {record.path: record for record, _ in read_records(published.index)}
    rows = read_table(published.manifest)
    encoding = POSITIONAL_ENCODING.relative_to(DATASET)
    common: dict[Path, Written] = {}
    if any(row["embedding"] for row in rows):
        common[folder / encoding] = records[published.manifest.parent / encoding]

    sizes = {target: link_bytes(record, link) for target, record in common.items()}
    for row in rows:
        for target in (folder / row["split"] / name for name in structures if int(row[PIXEL_COLUMNS[name]])):
            shared = _shared_files(published, row, target, records)
            sizes |= {path: link_bytes(record, link) for path, record in shared.items()}
            # The mask of one structure compresses to less than the one of all.
            sizes[target / "masks" / f"{row['slice']}.png"] = records[published.mask(row).path].bytes
    announce_size(folder, index, sizes)

    files = [link_published(record, target, link) for target, record in common.items()]
    for row in rows:
        label = published.mask(row).read()
        for structure in structures:
            mask = (label == LABELS[structure]).astype(np.uint8)
            if not mask.any():
                continue
            target = folder / row["split"] / structure
            files.append(write_png(target / "masks" / f"{row['slice']}.png", mask))
            shared = _shared_files(published, row, target, records)
            files += [link_published(record, path, link) for path, record in shared.items()]

    close_export(folder, index, files)
    logger.info("%d files", len(files))


def _shared_files(published: Published, row: Row, folder: Path, records: dict[Path, Written]) -> dict[Path, Written]:
    """Return target -> published file of the image and, if there is one, of the embedding of a slice."""
    image = published.image(row).path
    shared = {folder / "images" / image.name: records[image]}
    if row["embedding"]:
        embedding = published.manifest.parent / row["embedding"]
        shared[folder / "image_embeddings" / embedding.name] = records[embedding]
    return shared
