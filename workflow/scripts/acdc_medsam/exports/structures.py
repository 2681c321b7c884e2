"""Export structures: the dataset once per structure, with binary masks, for training code that learns one at a time.

The folders are ``<split>/{RV,MYO,LV}/{images,masks,image_embeddings}``. A slice is left out of the structures that it
does not show.
"""

import logging
from pathlib import Path

import numpy as np

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.exports.folder import Published, close_export, link_published
from acdc_medsam.formats.files import Written, read_table
from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.png import GrayFile, write_png

logger = logging.getLogger(__name__)


def export_structures(published: Published, folder: Path, index: Path, link: str) -> None:
    """Write binary masks, 1 inside the structure and 0 elsewhere, and link the images and embeddings.

    Args:
        published: The published dataset.
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.
        link: How to link; see :func:`acdc_medsam.stages.publish.link_file`.
    """
    root = published.manifest.parent
    records = {record.path: record for record, _ in read_records(published.index)}
    files: list[Written] = []

    for row in read_table(published.manifest):
        name = f"{row['slice']}.png"
        split = row["split"]
        label = GrayFile(root / split / "masks" / name, row["mask_sha256"]).read()
        shared = {"images": root / split / "images" / name}
        if row["embedding"]:
            shared["image_embeddings"] = root / row["embedding"]

        for structure, value in LABELS.items():
            mask = (label == value).astype(np.uint8)
            if not mask.any():
                continue
            files.append(write_png(folder / split / structure / "masks" / name, mask))
            for kind, source in shared.items():
                target = folder / split / structure / kind / source.name
                files.append(link_published(records[source], target, link))

    close_export(folder, index, files)
    logger.info("%d files", len(files))
