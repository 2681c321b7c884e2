"""Stage render: a patient's H5 volumes -> 8-bit PNG images and masks of one size.

Input: the index from stage normalize. Output: ``images/`` and ``masks/``, their index, and the table of slices, from
which every later stage reads the facts about a slice.
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import slice_name
from acdc_medsam.formats.files import Row, Written, remove_others, write_table
from acdc_medsam.formats.h5 import read_h5
from acdc_medsam.formats.index import index_row, read_index_comments, read_records, write_index
from acdc_medsam.formats.png import Gray, RowFilter, write_png
from acdc_medsam.layout import PIXEL_COLUMNS, PNG_IMAGE_SHA256, SLICE_COLUMNS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slice:
    """Slice of an H5 volume.

    Attributes:
        name: Name of the slice, such as ``patient001_frame01_slice_0``.
        facts: Columns of the table of slices that are known before rendering.
        image: (H, W) float32 in [0, 1].
        label: Label values (H, W) uint8.
    """

    name: str
    facts: Row
    image: npt.NDArray[np.float32]
    label: Gray


def round_image(image: npt.NDArray[np.float32]) -> Gray:
    """Convert an image or a volume, of any shape and in [0, 1], to 0..255."""
    gray: Gray = np.rint(image * np.float32(255)).astype(np.uint8)
    return gray


def resize_image(image: npt.NDArray[np.float32], size: int) -> Gray:
    """Convert an image (H, W) in [0, 1] to (size, size) in 0..255."""
    # Rounded to 8 bits before resizing, as in the notebooks with which existing MedSAM datasets of ACDC were made.
    return resize_gray(round_image(image), size)


def resize_gray(image: Gray, size: int) -> Gray:
    """Resize an image (H, W) in 0..255 to (size, size) by bilinear interpolation."""
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def resize_label(label: Gray, size: int) -> Gray:
    """Resize a label (H, W) to (size, size) by nearest neighbor, so that no new values appear."""
    return np.asarray(Image.fromarray(label).resize((size, size), Image.Resampling.NEAREST))


def pixels_sha256(pixels: Gray) -> str:
    """Compute the hex sha256 of an image's shape and pixels, which does not depend on the file format."""
    height, width = pixels.shape
    return hashlib.sha256(b"%d x %d " % (height, width) + pixels.tobytes()).hexdigest()


def read_slices(volume: Path, sha256: str | None = None) -> Iterator[Slice]:
    """Read every slice of an H5 volume, in order along z.

    Args:
        volume: The H5 file.
        sha256: Hex sha256 from the record of the file; None accepts any content.

    Yields:
        One slice after the other.

    Raises:
        DatasetError: The file cannot be used, see :func:`read_h5`.
    """
    content = read_h5(volume, 3, sha256)
    attributes = content.attributes
    facts = {key: str(attributes[key]) for key in ("patient", "subset", "group", "phase", "frame")}
    # Volumes from H5 files may lack a spacing, and only they have notes.
    facts["spacing"] = " ".join(f"{size:g}" for size in attributes.get("spacing", ()))
    facts["notes"] = str(attributes.get("notes", ""))
    facts["height"], facts["width"] = map(str, content.label.shape[1:])

    for index, (image, label) in enumerate(zip(content.image, content.label, strict=True)):
        name = slice_name(facts["patient"], int(facts["frame"]), index)
        pixels = {PIXEL_COLUMNS[key]: str(np.count_nonzero(label == value)) for key, value in LABELS.items()}
        yield Slice(name, {"slice": name, "slice_index": str(index), **facts, **pixels}, image, label)


def render_patient(volumes: Path, index: Path, table: Path, size: int, keep_empty: bool) -> None:
    """Write a patient's PNGs to ``images/`` and ``masks/`` beside their index, and the table of slices.

    Files from an earlier run in these two folders are removed.

    Args:
        volumes: Index of the patient's H5 files.
        index: Declared output, the index of the PNGs and the table, written last.
        table: Declared output with the columns SLICE_COLUMNS.
        size: Height and width of the PNGs in pixels.
        keep_empty: Whether slices without any structure are kept.

    Raises:
        DatasetError: An H5 file is missing or has changed.
    """
    images = index.parent / "images"
    masks = index.parent / "masks"
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)

    rows = list[Row]()
    files = list[Written]()
    for volume, _ in read_records(volumes):
        # The index also names the H5 slices, which have the same content.
        if volume.path.parent.name != "volumes":
            continue
        for item in read_slices(volume.path, volume.sha256):
            if keep_empty or item.label.any():
                pixels = resize_image(item.image, size)
                image = write_png(images / f"{item.name}.png", pixels, RowFilter.UP)
                mask = write_png(masks / f"{item.name}.png", resize_label(item.label, size))
                digests = {
                    PNG_IMAGE_SHA256: image.sha256,
                    "mask_sha256": mask.sha256,
                    "pixels_sha256": pixels_sha256(pixels),
                }
                files += [image, mask]
                rows.append(item.facts | digests)

    remove_others((images, masks), keep=[file.path for file in files])
    files.append(write_table(table, SLICE_COLUMNS, rows, sealed=True))

    comments = read_index_comments(volumes)
    notes = list(comments.notes)
    if not rows and not comments.left_out:
        notes.append(f"{index.parent.name}: no slice holds a structure, so none is kept; images.keep_empty keeps them")
        logger.warning("%s", notes[-1])
    write_index(index, [index_row(file, index) for file in files], (), comments.left_out, notes)
    logger.info("%s: %d slices", index.parent.name, len(rows))
