"""A PyTorch dataset over one split of ``data/ACDC``."""

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
from acdc_medsam.data.prompts import jitter_box, sample_points, tight_box
from acdc_medsam.encoders.decoder import PROMPT_SIZE
from acdc_medsam.errors import ConfigError, DatasetError
from acdc_medsam.formats.files import Row, read_table
from acdc_medsam.formats.png import read_gray
from acdc_medsam.formats.tensors import open_embedding
from acdc_medsam.layout import EMBEDDING_SHAPE, MANIFEST, PIXEL_COLUMNS, SPLITS

METADATA = ("slice", "patient", "phase", "group", "frame", "slice_index", "height", "width", "spacing")
"""Columns of the manifest that an item holds as text."""

SliceItem = dict[str, Any]


@dataclass(frozen=True)
class ItemOptions:
    """What an item of a :class:`SliceDataset` holds.

    Attributes:
        structure: RV, MYO or LV: masks of it alone, 0 and 1, of the slices that show it; None: all labels.
        prompts: ``box``, ``points`` or ``none``.
        box_jitter: each side of a box is moved by up to so many pixels of 1024, anew in each epoch.
        points: number of points drawn inside the mask, anew in each epoch.
        mask_size: side of the masks in pixels, such as 1024, or 256 as the decoder's own output.
        image: whether to load the image; training needs the embedding alone.
        seed: of everything drawn.
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
    """Slices of one split, each a dictionary.

    ``embedding`` (256, 64, 64) float32, mapped from its file; ``mask`` (S, S) uint8, labels 0 to 3, or 0 and 1 of one
    structure; with ``image`` also ``image`` (1, 1024, 1024) uint8. With boxes ``box`` (4,), of all that the mask shows,
    and ``boxes`` (3, 4) with ``present`` (3,), of RV, MYO and LV, zeros for one that is not there; with points
    ``points`` (n, 2) and ``point_labels`` (n,), ones. Boxes (x0, y0, x1, y1) and points (x, y) are float32 in pixels of
    1024. And the METADATA as text.

    What is drawn depends on the seed, ``epoch`` and the slice's name alone: not on order, workers or threads.
    """

    def __init__(self, root: str | Path, split: str = "train", options: ItemOptions | None = None) -> None:
        """List the slices.

        Args:
            root: folder of the dataset, such as ``data/ACDC``, wherever it was copied.
            split: ``train``, ``val`` or ``test``.
            options: what an item holds.

        Raises:
            DatasetError: there is no manifest, no slice of that split, or no embedding; or the manifest names a file
                that is not in the dataset's folder.
        """
        self.root, self.split, self.options, self.epoch = Path(root), split, options or ItemOptions(), 0
        manifest = self.root / MANIFEST
        rows = [row for row in read_table(manifest) if row["split"] == split in SPLITS]
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
        refuse_names_elsewhere(rows, manifest)
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> SliceItem:
        row, options = self.rows[place], self.options
        folder = self.root / self.split
        label = torch.from_numpy(read_gray(folder / "masks" / f"{row['slice']}.png").copy())
        if options.structure is not None:
            label = (label == LABELS[options.structure]).to(torch.uint8)
        item: SliceItem = {key: row[key] for key in METADATA}
        item |= {
            "embedding": open_embedding(self.root / row["embedding"], EMBEDDING_SHAPE),
            "mask": resized(label, options.mask_size),
        }
        if options.image:
            item["image"] = torch.from_numpy(read_gray(folder / "images" / f"{row['slice']}.png").copy())[None]
        return item | self._prompts(label, row["slice"])

    def _prompts(self, label: Tensor, name: str) -> SliceItem:
        options, scale = self.options, PROMPT_SIZE / len(label)
        generator = seeded(options.seed, self.epoch, name)
        if options.prompts == "none":
            return {}
        # A slice without structures, which a dataset may keep, has no prompt: all zeros, and nothing is present.
        if options.prompts == "points":
            points = sample_points(label > 0, options.points, generator) * scale if label.any() else None
            found = torch.zeros(options.points, 2) if points is None else points
            return {"points": found, "point_labels": torch.full((options.points,), float(points is not None))}
        of_all = self._box(label > 0, scale, generator)
        if options.structure is not None:
            return {"box": of_all}
        shown = [label == value for value in LABELS.values()]
        return {
            "box": of_all,
            "boxes": torch.stack([self._box(mask, scale, generator) for mask in shown]),
            "present": torch.stack([mask.any() for mask in shown]),
        }

    def _box(self, mask: Tensor, scale: float, generator: torch.Generator) -> Tensor:
        if not mask.any():
            return torch.zeros(4)
        box = tight_box(mask) * scale
        return jitter_box(box, self.options.box_jitter, PROMPT_SIZE, generator) if self.options.box_jitter else box


def refuse_names_elsewhere(rows: Iterable[Row], manifest: Path) -> None:
    """Refuse names by which a manifest, which may come from anywhere, would have files opened outside its folder.

    Only names count: the links of a dataset that was published with ``publish: {link: symlink}`` lead outside.

    Raises:
        DatasetError: the name of a slice holds a folder, or that of an embedding leads out of the dataset's folder.
    """
    for row in rows:
        embedding = PurePosixPath(row["embedding"])
        named_here = {
            row["slice"]: PurePosixPath(row["slice"]).name == row["slice"],
            row["embedding"]: embedding.name and not embedding.is_absolute() and ".." not in embedding.parts,
        }
        for name, here in named_here.items():
            if not here or "\0" in name:
                raise DatasetError(
                    f"{manifest}, slice {row['slice']!r}: {name!r} names no file of the dataset's folder and was not "
                    "opened; copy the dataset anew from where it was made"
                )


def seeded(*parts: object) -> torch.Generator:
    """Make a generator whose numbers depend on these parts alone, however near they are to other ones."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def resized(label: Tensor, size: int) -> Tensor:
    """Resize a label (H, W) uint8 to (size, size) by nearest neighbour."""
    if label.shape == (size, size):
        return label
    small = Image.fromarray(label.numpy()).resize((size, size), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(small))


def positional_encoding(root: str | Path) -> Tensor:
    """Open the positional encoding that the mask decoder needs: (1, 256, 64, 64) float32.

    Raises:
        DatasetError: it is missing or damaged.
    """
    return open_embedding(Path(root) / "positional_encoding" / "pe.pt", (1, *EMBEDDING_SHAPE))
