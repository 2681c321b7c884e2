"""Published layout: paths below the output folder, file names, table columns and vocabulary.

Both the writer and the reader of a file take these facts from here.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import NAME, VOLUME_PATTERN

SPLITS = ("train", "val", "test")
"""Splits of the published dataset. Which patients form ``test`` depends on the scheme, see docs/splits.md."""

DATASET = Path("data", NAME)
POSITIONAL_ENCODING = DATASET / "positional_encoding" / "pe.pt"
MANIFEST = "manifest.tsv"
METADATA = "metadata.csv"
"""Table in the folder of each split that has slices, with which the library `datasets` pairs images and masks."""
PROVENANCE = "provenance.json"
PUBLISHED_NAME = re.compile(VOLUME_PATTERN + r"(_slice_\d+)?\.(h5|png|pt)|pe\.pt|\..*\.tmp")
"""Names of published files and their temporary files; no file of another name is ever removed."""

LATER_FILES = ("quality.json", "report.html", "README.md", "croissant.json", PROVENANCE)
"""Files of ``data/ACDC`` that are written after verification, which must ignore those of an earlier run."""

EMBEDDING_SHAPE = (256, 64, 64)
"""Shape of an image embedding: channels, rows and columns."""

ENCODING_SHAPE = (1, *EMBEDDING_SHAPE)
"""Shape of the positional encoding."""

PIXEL_COLUMNS = {structure: f"{structure.lower()}_pixels" for structure in LABELS}
"""Structure -> column with its number of pixels in the H5 slice, before resizing."""

RAW_IMAGE_SHA256 = "image_sha256"
"""Attribute of an H5 file: hex sha256 of the raw NIfTI image that it was made from."""

PNG_IMAGE_SHA256 = "image_sha256"
"""Column of the slice tables and of the manifest: hex sha256 of the PNG image."""

PHASE_INFERRED = "phase inferred from the size of the left ventricle"
"""Note in the manifest on a patient whose H5 files do not say which frame is ED."""

GROUP_ASSUMED = "group assumed from the number of the patient"
"""Note in the manifest on a patient whose pathology group is that of ACDC's numbering."""

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
    "notes",
)

SPLIT_COLUMNS = ("slice", "split", "fold", "scheme")
"""Columns of the table of splits. Slices of patients that are in no split have an empty ``split``."""

FOLD_COLUMNS = ("patient", "split", "group", "content_sha256")
"""Columns of the table of a fold; the last one is a digest of the patient's masks and embeddings."""

MANIFEST_COLUMNS = (
    "slice",
    "patient",
    "frame",
    "phase",
    "group",
    "split",
    "fold",
    "scheme",
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
    "notes",
)

METADATA_COLUMNS = (
    "file_name",
    "mask_file_name",
    "slice",
    "patient",
    "frame",
    "phase",
    "group",
    "fold",
    "slice_index",
    "height",
    "width",
    "spacing",
    *PIXEL_COLUMNS.values(),
    "embedding",
    "notes",
)
"""Columns of METADATA. The names of the first two are what `datasets` expects of files; they come out as images."""

WAYS = {
    "zero_shot_boxes": "released decoder, true boxes",
    "fine_tuned_boxes": "fine-tuned, true boxes",
    "fine_tuned": "fine-tuned, without prompts",
}
"""Methods of segmentation that are compared: name in metrics.json -> description."""

STAGE_INDEXES = (
    "h5/*/index.tsv",
    "png/*/index.tsv",
    "embeddings/*/p*-*.tsv",
    "embeddings/*/positional_encoding.tsv",
    "measures/index.tsv",
    "published.tsv",
)
"""Patterns, relative to ``work/``, of the indexes of everything that a dataset is made from."""


def image_folder(split: str, kind: str) -> Path:
    """Return the published folder of one kind of file: ``train``, ``masks`` -> ``data/ACDC/train/masks``."""
    return DATASET / split / kind


def expected_folders(splits: Sequence[str], with_embeddings: bool) -> list[Path]:
    """Return the folders of ``data/ACDC`` that hold files: those of each split, and that of pe.pt."""
    kinds = ["images", "masks"]
    if with_embeddings:
        kinds.append("image_embeddings")

    folders = [image_folder(split, kind) for split in splits for kind in kinds]
    if with_embeddings:
        folders.append(POSITIONAL_ENCODING.parent)
    return folders


def published_splits(slices: Sequence[Mapping[str, str]]) -> list[str]:
    """Return ``train`` and ``val``, and ``test`` if any slice belongs to it."""
    return [split for split in SPLITS if split != "test" or any(row["split"] == "test" for row in slices)]


def metadata_files(slices: Sequence[Mapping[str, str]]) -> list[Path]:
    """Return the paths of METADATA, one for each split that a slice belongs to; a split may be without slices."""
    return [DATASET / split / METADATA for split in SPLITS if any(row["split"] == split for row in slices)]


def find_indexes(work: Path) -> list[Path]:
    """Return the indexes in a folder ``work/`` that match STAGE_INDEXES."""
    return sorted(path for pattern in STAGE_INDEXES for path in work.glob(pattern))
