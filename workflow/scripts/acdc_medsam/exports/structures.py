"""Export structures: the dataset once per structure, with binary masks, for training code that learns one at a time.

``<split>/{RV,MYO,LV}/{images,masks,image_embeddings}``; slices that do not show the structure are left out.
"""

import logging
from pathlib import Path

import numpy as np

from acdc_medsam.dataset import LABELS
from acdc_medsam.exports.folder import close_export, published_digests
from acdc_medsam.files import read_table
from acdc_medsam.png import read_gray
from acdc_medsam.publish import link_file
from acdc_medsam.render import write_png

logger = logging.getLogger(__name__)


def export_structures(manifest: Path, published: Path, folder: Path, index: Path, link: str) -> None:
    """Write binary masks, 1 where the structure is and 0 elsewhere; link the images and embeddings.

    Args:
        manifest: ``manifest.tsv`` of the published dataset.
        published: the index of published files.
        folder: of the export.
        index: declared output.
        link: see :func:`acdc_medsam.publish.link_file`.
    """
    root, digests, files = manifest.parent, published_digests(published), dict[Path, str | None]()
    for row in read_table(manifest):
        name, split = f"{row['slice']}.png", row["split"]
        label = read_gray(root / split / "masks" / name)
        same = {"images": root / split / "images" / name}
        if row["embedding"]:
            same["image_embeddings"] = root / row["embedding"]
        for structure, value in LABELS.items():
            mask = (label == value).astype(np.uint8)
            if not mask.any():
                continue
            write_png(folder / split / structure / "masks" / name, mask)
            files[folder / split / structure / "masks" / name] = None
            for kind, source in same.items():
                target = folder / split / structure / kind / source.name
                link_file(source, target, link)
                files[target] = digests[source]
    close_export(folder, index, files)
    logger.info("%d files", len(files))
