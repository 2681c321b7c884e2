"""Export structures: the dataset once per structure, with binary masks, for training code that learns one at a time.

``<split>/{RV,MYO,LV}/{images,masks,image_embeddings}``; slices that do not show the structure are left out.
"""

import logging
from pathlib import Path

import numpy as np

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.exports.folder import close_export, link_published
from acdc_medsam.formats.files import Written, read_table
from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.png import GrayFile, write_png

logger = logging.getLogger(__name__)


def export_structures(manifest: Path, published: Path, folder: Path, index: Path, link: str) -> None:
    """Write binary masks, 1 where the structure is and 0 elsewhere; link the images and embeddings.

    Args:
        manifest: ``manifest.tsv`` of the published dataset.
        published: the index of published files.
        folder: of the export.
        index: declared output.
        link: see :func:`acdc_medsam.stages.publish.link_file`.
    """
    root = manifest.parent
    records = {record.path: record for record, _ in read_records(published)}
    files = list[Written]()
    for row in read_table(manifest):
        name = f"{row['slice']}.png"
        split = row["split"]
        label = GrayFile(root / split / "masks" / name, row["mask_sha256"]).read()
        same = {"images": root / split / "images" / name}
        if row["embedding"]:
            same["image_embeddings"] = root / row["embedding"]
        for structure, value in LABELS.items():
            mask = (label == value).astype(np.uint8)
            if not mask.any():
                continue
            files.append(write_png(folder / split / structure / "masks" / name, mask))
            for kind, source in same.items():
                target = folder / split / structure / kind / source.name
                files.append(link_published(records[source], target, link))
    close_export(folder, index, files)
    logger.info("%d files", len(files))
