"""Export medsam2: one NumPy archive per volume, as bowang-lab/MedSAM2 reads them as videos.

``NPZRawDataset`` (training/dataset/vos_raw_dataset.py) takes every ``.npz`` below a folder, or those that a list names
by their path without suffix. The slices of ``imgs`` are the frames, and each value of ``gts`` is an object.
``spacing`` is read by the scripts for inference, in SimpleITK's order, as MedSAM's pre_CT_MR.py writes it.
"""

import io
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from acdc_medsam.acdc.naming import volume_of
from acdc_medsam.exports.folder import Published, close_export, split_of_patients
from acdc_medsam.exports.size import announce_size
from acdc_medsam.formats.files import Written, read_table, write_bytes
from acdc_medsam.formats.h5 import read_geometry, read_h5
from acdc_medsam.layout import published_splits
from acdc_medsam.stages.render import round_image

logger = logging.getLogger(__name__)

ARCHIVE_BYTES = 2048
"""Size of an archive besides its voxels, at most."""


def export_medsam2(published: Published, folder: Path, index: Path) -> None:
    """Write ``<split>/<volume>.npz`` and the lists ``<split>.txt``.

    An archive has ``imgs`` and ``gts``, (Z, H, W) uint8, with intensities 0..255 and labels 0..3 of all slices, and
    ``spacing``, (x, y, z) in mm. An unknown spacing is left out.

    Args:
        published: The published dataset.
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.

    Raises:
        DatasetError: The split is by slice, not by patient, or an H5 file is missing or has changed.
        AcdcError: There is too little space on the disk.
    """
    rows = read_table(published.manifest)
    splits = split_of_patients(rows)
    pixels = {volume_of(row["slice"]): int(row["height"]) * int(row["width"]) for row in rows}
    depths = Counter(volume_of(record.path.stem) for record in published.h5("slices"))

    targets: dict[Path, Written] = {}
    for record in published.h5("volumes"):
        # A volume without any structure has no slices in the manifest, and nothing to learn from.
        if record.path.stem in pixels:
            split = splits[record.path.stem.split("_")[0]]
            targets[folder / split / f"{record.path.stem}.npz"] = record

    voxels = {target: depths[target.stem] * pixels[target.stem] for target in targets}
    announce_size(folder, index, {target: 2 * number + ARCHIVE_BYTES for target, number in voxels.items()})
    files = [_write_volume(target, record) for target, record in targets.items()]

    for split in published_splits(rows):
        names = sorted(target.stem for target in targets if target.parent.name == split)
        lines = "".join(f"{split}/{name}\n" for name in names)
        files.append(write_bytes(folder / f"{split}.txt", lines.encode()))

    close_export(folder, index, files)
    logger.info("%d volumes", len(targets))


def _write_volume(target: Path, record: Written) -> Written:
    """Write the archive of a published H5 volume, and return its record."""
    content = read_h5(record.path, 3, record.sha256)
    arrays: dict[str, Any] = {"imgs": round_image(content.image), "gts": content.label}
    spacing, _ = read_geometry(content)
    if spacing is None:
        logger.warning("%s: its spacing is unknown, so %s has none", record.path.stem, target)
    else:
        arrays["spacing"] = np.array(spacing[::-1])

    # Not compressed: training reads a volume again and again, and all of ACDC is 0.2 GB.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return write_bytes(target, buffer.getbuffer(), read_only=True)
