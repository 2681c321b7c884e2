"""The published layout, each fact said once: paths below the output folder, file names, columns, vocabulary.

Those who write a file and those who read it look here.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import VOLUME_PATTERN

SPLITS = ("train", "val", "test")
"""Splits of the published dataset; ``testing`` patients become ``test``."""

DATASET = Path("data/ACDC")
POSITIONAL_ENCODING = DATASET / "positional_encoding" / "pe.pt"
MANIFEST = "manifest.tsv"
PROVENANCE = "provenance.json"
H5_KINDS = ("volumes", "slices")
PUBLISHED_NAME = re.compile(VOLUME_PATTERN + r"(_slice_\d+)?\.(h5|png|pt)|pe\.pt|\..*\.tmp")
"""Names that stage publish gives; only files of these names are ever removed from the published folders."""

LATER_FILES = ("quality.json", "report.html", "README.md", "croissant.json", PROVENANCE)
"""Files of ``data/ACDC`` that later stages write; whether an earlier run left them there must change nothing."""

EMBEDDING_SHAPE = (256, 64, 64)
"""Shape of an image embedding: channels, and places along y and x."""

PIXEL_COLUMNS = {structure: f"{structure.lower()}_pixels" for structure in LABELS}
"""Structure -> column with its pixels in the H5 slice, before resizing."""

RAW_IMAGE_SHA256 = "image_sha256"
"""Attribute of an H5 file: hex sha256 of the raw NIfTI image that it was made from."""

PNG_IMAGE_SHA256 = "image_sha256"
"""Column of the slice tables and of the manifest: hex sha256 of the PNG image."""

SLICE_COLUMNS = (
    "slice",
    "patient",
    "subset",
    "group",
    "phase",
    "frame",
    "slice_index",
    "height",
    "width",
    "spacing",
    *PIXEL_COLUMNS.values(),
    PNG_IMAGE_SHA256,
    "mask_sha256",
    "pixels_sha256",
)

SPLIT_COLUMNS = ("slice", "split", "fold")

MANIFEST_COLUMNS = (
    "slice",
    "patient",
    "frame",
    "phase",
    "group",
    "split",
    "fold",
    "slice_index",
    "height",
    "width",
    "spacing",
    *PIXEL_COLUMNS.values(),
    PNG_IMAGE_SHA256,
    "mask_sha256",
    "embedding",
    "embedding_digest",
    "embedding_sha256",
    "encoder",
)

WAYS = {
    "zero_shot_boxes": "released decoder, true boxes",
    "fine_tuned_boxes": "fine-tuned, true boxes",
    "fine_tuned": "fine-tuned, without prompts",
}
"""What is compared: name in metrics.json -> in words."""

STAGE_INDEXES = (
    "h5/*/index.tsv",
    "png/*/index.tsv",
    "embeddings/*/p*-*.tsv",
    "embeddings/*/positional_encoding.tsv",
    "measures/index.tsv",
    "published.tsv",
)
"""Patterns below ``work/`` of the indexes that a dataset is made from."""


def h5_folder(subset: str, kind: str) -> Path:
    """``training``, ``slices`` -> ``ACDC_training_slices``."""
    return Path(f"ACDC_{subset}_{kind}")


def image_folder(split: str, kind: str) -> Path:
    """``train``, ``masks`` -> ``data/ACDC/train/masks``."""
    return DATASET / split / kind


def expected_folders(splits: Sequence[str], with_embeddings: bool) -> list[Path]:
    """Folders of ``data/ACDC`` that hold files: three kinds per split (two without embeddings), one for pe.pt."""
    kinds = ("images", "masks", *(("image_embeddings",) if with_embeddings else ()))
    folders = [image_folder(split, kind) for split in splits for kind in kinds]
    return [*folders, *([POSITIONAL_ENCODING.parent] if with_embeddings else [])]


def published_splits(slices: Sequence[Mapping[str, str]]) -> list[str]:
    """``train`` and ``val`` always, ``test`` where there are testing patients."""
    return [split for split in SPLITS if split != "test" or any(row["split"] == "test" for row in slices)]


def find_indexes(work: Path) -> list[Path]:
    """Every index of STAGE_INDEXES in a folder ``work/``."""
    return sorted(path for pattern in STAGE_INDEXES for path in work.glob(pattern))
