"""The export medsam, read as MedSAM's training reads it."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from acdc_medsam.encoders.model import prepare_images
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.formats.files import Row
from exported import Exports

HALF_STEP = 2**-12
"""Largest distance of a number in [0, 1] from the nearest float16."""


def read_pairs(data_root: Path) -> list[str]:
    """Names of the pairs, as ``NpyDataset.__init__`` in train_one_gpu.py of bowang-lab/MedSAM finds them.

    It sorts what ``gts/**/*.npy`` matches, and keeps the files whose name is in ``imgs`` too.
    """
    masks = sorted((data_root / "gts").rglob("*.npy"))
    return [path.name for path in masks if (data_root / "imgs" / path.name).is_file()]


def read_item(data_root: Path, name: str) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.int64]]:
    """An image, the mask of a random structure and its box, as ``NpyDataset.__getitem__`` in train_one_gpu.py has them.

    It maps both files into memory, moves the channels to the front, and asserts that the image lies in [0, 1]. It takes
    the first of the mask's values for the background and draws one of the others, asserts that this mask is 0 and 1,
    and shifts the edges of its box.
    """
    image = np.load(data_root / "imgs" / name, mmap_mode="r", allow_pickle=False).transpose(2, 0, 1)
    assert image.max() <= 1.0 and image.min() >= 0.0
    mask = np.load(data_root / "gts" / name, mmap_mode="r", allow_pickle=False)
    chosen = np.uint8(mask == random.choice(np.unique(mask)[1:].tolist()))
    assert chosen.max() == 1 and chosen.min() == 0
    rows, columns = np.where(chosen > 0)
    box = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    return torch.tensor(image).float(), torch.tensor(chosen[None]).long(), box


def published_image(exports: Exports, row: Row) -> torch.Tensor:
    """The published image of a slice as the encoder gets it: (3, 1024, 1024) float32."""
    path = exports.small.data / row["split"] / "images" / f"{row['slice']}.png"
    return prepare_images(torch.from_numpy(np.array(Image.open(path)))[None], ENCODERS["medsam_vit_b"])[0]


@pytest.mark.parametrize(("dtype", "largest"), [("float16", HALF_STEP), ("float32", 0)])
def test_medsam_trains_on_the_input_of_its_encoder(exports: Exports, dtype: str, largest: float) -> None:
    folder = exports.make("medsam", dtype=dtype)
    for split in ("train", "val", "test"):
        root = folder / "npy/ACDC" / split
        rows = {f"{row['slice']}.npy": row for row in exports.rows if row["split"] == split}
        assert read_pairs(root) == sorted(rows)
        for name, row in rows.items():
            image, mask, box = read_item(root, name)
            assert image.shape == (3, 1024, 1024) and mask.shape == (1, 1024, 1024)
            assert (image - published_image(exports, row)).abs().max() <= largest
            x_min, y_min, x_max, y_max = box
            assert mask[0, y_min : y_max + 1, x_min : x_max + 1].sum() == mask.sum() > 0
            assert np.load(root / "imgs" / name).dtype == dtype


def test_masks_hold_the_published_labels(exports: Exports) -> None:
    folder = exports.make("medsam")
    for row in exports.rows:
        published = Image.open(exports.small.data / row["split"] / "masks" / f"{row['slice']}.png")
        mask = np.load(folder / "npy/ACDC" / row["split"] / "gts" / f"{row['slice']}.npy")
        assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1, 2, 3}
        np.testing.assert_array_equal(mask, np.asarray(published.resize((1024, 1024), Image.Resampling.NEAREST)))


def test_float16_keeps_every_gray_value_apart() -> None:
    """Whatever the darkest and the brightest pixel of an image are, its gray values can be told from the file."""
    for low in range(255):
        for high in range(low + 1, 256):
            gray = np.arange(low, high + 1)
            scaled = np.float32(gray - low) / np.float32(high - low)
            stored = scaled.astype(np.float16).astype(np.float32)
            assert np.abs(stored - scaled).max() <= HALF_STEP
            np.testing.assert_array_equal(np.rint(stored * (high - low)) + low, gray)


def test_slices_without_structures_are_left_out(exports: Exports) -> None:
    """MedSAM's ``NpyDataset`` stops at a mask without structures: it has nothing to draw from."""
    manifest = exports.small.data / "manifest.tsv"
    header, first, *others = manifest.read_text().splitlines()
    values = dict(zip(header.split("\t"), first.split("\t"), strict=True))
    values |= {"rv_pixels": "0", "myo_pixels": "0", "lv_pixels": "0"}
    manifest.write_text("\n".join([header, "\t".join(values.values()), *others]) + "\n")
    names = {path.stem for path in exports.make("medsam").rglob("*.npy")}
    assert names == {row["slice"] for row in exports.rows} - {values["slice"]}
