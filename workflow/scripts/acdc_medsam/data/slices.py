"""A PyTorch dataset of one split of ``data/ACDC``."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.assignment import AS_PUBLISHED, Assignment
from acdc_medsam.data.prompts import jitter_box, sample_points, tight_box
from acdc_medsam.encoders.decoder import PROMPT_SIZE
from acdc_medsam.errors import ConfigError, DatasetError
from acdc_medsam.formats.files import Row, read_table
from acdc_medsam.formats.png import read_gray
from acdc_medsam.formats.tensors import open_embedding
from acdc_medsam.layout import EMBEDDING_SHAPE, ENCODING_SHAPE, MANIFEST, PIXEL_COLUMNS, SPLITS

METADATA = ("slice", "patient", "phase", "group", "frame", "slice_index", "height", "width", "spacing")
"""Columns of the manifest that an item holds as text."""

SliceItem = dict[str, Any]
"""One slice, with the keys that :class:`SliceDataset` lists."""


@dataclass(frozen=True)
class ItemOptions:
    """Content of the items of a :class:`SliceDataset`.

    Attributes:
        structure: RV, MYO or LV for binary masks of the slices that show this structure; None for all labels.
        prompts: ``box``, ``points`` or ``none``.
        box_jitter: The largest distance by which each side of a box is moved, in pixels of 1024, drawn anew in each
            epoch.
        points: The number of points drawn inside the mask, anew in each epoch.
        mask_size: The side of the masks in pixels, such as 1024, or 256 like the decoder's own output.
        image: Whether to load the image. Training needs only the embedding.
        seed: The seed of everything that is drawn.
    """

    structure: str | None = None
    prompts: Literal["box", "points", "none"] = "box"
    box_jitter: float = 0
    points: int = 1
    mask_size: int = PROMPT_SIZE
    image: bool = False
    seed: int = 2026

    def __post_init__(self) -> None:
        if self.structure is not None and self.structure not in LABELS:
            raise ConfigError(f"structure: {self.structure!r} given; expected one of {', '.join(LABELS)}, or None")
        if self.prompts not in ("box", "points", "none"):
            raise ConfigError(f"prompts: {self.prompts!r} given; expected box, points or none")
        if self.box_jitter < 0 or self.points < 1 or self.mask_size < 1:
            raise ConfigError("box_jitter must be 0 or more, points and mask_size 1 or more")


class SliceDataset(Dataset[SliceItem]):
    """Slices of one split, each as a dictionary.

    ======================  =====================  ==================================================================
    key                     shape and type         content
    ======================  =====================  ==================================================================
    ``embedding``           (256, 64, 64) float32  The image embedding, memory-mapped from its file.
    ``mask``                (S, S) uint8           Labels 0 to 3; with ``structure``, 0 and 1.
    ``image``               (1, H, W) uint8        The image; only with ``image``.
    ``box``                 (4,) float32           The box around everything that the mask shows; with boxes.
    ``boxes``               (3, 4) float32         The boxes of RV, MYO and LV, zeros for absent ones; with boxes of
                                                   all labels.
    ``present``             (3,) bool              Which of RV, MYO and LV the slice shows; as ``boxes``.
    ``points``              (n, 2) float32         Points (x, y) inside the mask; with points.
    ``point_labels``        (n,) float32           1 for each point, 0 if the mask is empty; with points.
    the names in METADATA   text                   Columns of the manifest.
    ======================  =====================  ==================================================================

    Boxes (x0, y0, x1, y1) and points are in pixels of 1024. Everything that is drawn depends on the seed, on ``epoch``
    and on the slice's name, but not on the order, the workers or the threads.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        options: ItemOptions | None = None,
        assignment: Assignment = AS_PUBLISHED,
    ) -> None:
        """List the slices.

        Args:
            root: The folder of the dataset, such as ``data/ACDC`` or a copy of it.
            split: ``train``, ``val`` or ``test``.
            options: The content of an item.
            assignment: Which slices belong to the split.

        Raises:
            DatasetError: There is no manifest, no slice of the split, or no embedding; or the manifest names a file
                outside the dataset's folder.
        """
        self.root = Path(root)
        self.split = split
        self.options = options or ItemOptions()
        self.epoch = 0

        manifest = self.root / MANIFEST
        # The split of a row becomes part of paths, so only a known name is used.
        rows = [row for row in read_table(manifest) if row["split"] in SPLITS and assignment.split_of(row) == split]
        if self.options.structure is not None:
            rows = [row for row in rows if int(row[PIXEL_COLUMNS[self.options.structure]])]
        if not rows:
            shows = f" that shows {self.options.structure}" if self.options.structure else ""
            raise DatasetError(f"{manifest}: no slice of the split '{split}'{shows}; choose another split")

        if not any(row["embedding"] for row in rows):
            raise DatasetError(
                f"{manifest} names no embeddings: the dataset was made without an encoder; "
                "set encoder.name in config.yaml and run the workflow again"
            )
        reject_outside_names(rows, manifest)
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> SliceItem:
        row = self.rows[index]
        options = self.options
        # Files lie where they were published, whatever split the slice is assigned to.
        folder = self.root / row["split"]

        label = torch.from_numpy(read_gray(folder / "masks" / f"{row['slice']}.png"))
        if options.structure is not None:
            label = (label == LABELS[options.structure]).to(torch.uint8)

        item: SliceItem = {key: row[key] for key in METADATA}
        item["embedding"] = open_embedding(self.root / row["embedding"], EMBEDDING_SHAPE)
        item["mask"] = resize_mask(label, options.mask_size)
        if options.image:
            item["image"] = torch.from_numpy(read_gray(folder / "images" / f"{row['slice']}.png"))[None]
        return item | self._prompts(label, row["slice"])

    def _prompts(self, label: Tensor, name: str) -> SliceItem:
        options = self.options
        scale = PROMPT_SIZE / len(label)
        generator = make_generator(options.seed, self.epoch, name)
        if options.prompts == "none":
            return {}

        # A dataset may keep slices without structures. Their prompts are zeros, and nothing is present.
        if options.prompts == "points":
            shown = bool(label.any())
            points = sample_points(label > 0, options.points, generator) * scale if shown else None
            return {
                "points": torch.zeros(options.points, 2) if points is None else points,
                "point_labels": torch.full((options.points,), float(shown)),
            }

        box = self._box(label > 0, scale, generator)
        if options.structure is not None:
            return {"box": box}
        masks = [label == value for value in LABELS.values()]
        return {
            "box": box,
            "boxes": torch.stack([self._box(mask, scale, generator) for mask in masks]),
            "present": torch.stack([mask.any() for mask in masks]),
        }

    def _box(self, mask: Tensor, scale: float, generator: torch.Generator) -> Tensor:
        if not mask.any():
            return torch.zeros(4)
        box = tight_box(mask) * scale
        return jitter_box(box, self.options.box_jitter, PROMPT_SIZE, generator) if self.options.box_jitter else box


def reject_outside_names(rows: Iterable[Row], manifest: Path, need_embeddings: bool = True) -> None:
    """Reject a manifest whose names lead out of its folder: it may come from anyone.

    Only names are examined: a dataset published with ``publish: {link: symlink}`` has links that lead outside.

    Args:
        rows: Rows of the manifest.
        manifest: The manifest, for the message.
        need_embeddings: Whether a slice must have an embedding.

    Raises:
        DatasetError: The name of a slice contains a folder, or that of an embedding leads out of the dataset's folder.
    """
    for row in rows:
        embedding = PurePosixPath(row["embedding"] or ("" if need_embeddings else "none"))
        is_inside = {
            row["slice"]: PurePosixPath(row["slice"]).name == row["slice"],
            row["embedding"]: embedding.name and not embedding.is_absolute() and ".." not in embedding.parts,
        }
        for name, inside in is_inside.items():
            if not inside or "\0" in name:
                raise DatasetError(
                    f"{manifest}, slice {row['slice']!r}: {name!r} is not the name of a file in the dataset's folder, "
                    "so it was not opened; copy the dataset again from where it was made"
                )


def make_generator(*seed: object) -> torch.Generator:
    """Make a random generator whose numbers depend only on the given values, even if other values differ little."""
    # Hashing makes unrelated seeds even of consecutive epochs. Seven bytes stay below torch's limit of 64 bits.
    digest = hashlib.sha256(":".join(map(str, seed)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def resize_mask(label: Tensor, size: int) -> Tensor:
    """Resize a label (H, W) uint8 to (size, size) by nearest neighbor."""
    if label.shape == (size, size):
        return label
    # torch's nearest neighbor picks other pixels than Pillow's, which the masks were made with.
    small = Image.fromarray(label.numpy()).resize((size, size), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(small))


def positional_encoding(root: str | Path) -> Tensor:
    """Open the positional encoding that the mask decoder needs: (1, 256, 64, 64) float32.

    Raises:
        DatasetError: The file is missing or damaged.
    """
    return open_embedding(Path(root) / "positional_encoding" / "pe.pt", ENCODING_SHAPE)
