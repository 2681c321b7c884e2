"""The export sam_med2d, read as SAM-Med2D's training and test read it."""

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import label as label_regions
from skimage.measure import regionprops

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.exports.sam_med2d import READER_SIZE, _write_masks
from exported import Exports

Image = NDArray[np.uint8]


def resize(array: Image) -> Image:
    """``train_transforms`` in utils.py of SAM-Med2D: smaller images are padded around, others are resized."""
    height, width = array.shape[:2]
    if height < READER_SIZE and width < READER_SIZE:
        top, left = (READER_SIZE - height) // 2, (READER_SIZE - width) // 2
        rest = (READER_SIZE - height - top, READER_SIZE - width - left)
        padding = [(top, rest[0]), (left, rest[1]), *([(0, 0)] * (array.ndim - 2))]
        return np.pad(array, padding)
    return cv2.resize(array, (READER_SIZE, READER_SIZE), interpolation=cv2.INTER_NEAREST)


def read_mask(path: str) -> tuple[Image, tuple[int, int, int, int]]:
    """A mask and its box, as ``__getitem__`` in DataLoader.py and ``get_boxes_from_mask`` in utils.py have them.

    The mask is read as gray. If its largest value is 255, it is divided by 255, and has to be 0 and 1 then. The box is
    that of the largest region, and a mask without regions ends the program.
    """
    mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    mask = mask // 255 if mask.max() == 255 else mask
    assert np.array_equal(mask, mask.astype(bool))
    mask = resize(mask)
    largest = max(regionprops(label_regions(mask)), key=lambda region: region.area)
    return mask, largest.bbox


def image2label(name: str, mode: str) -> dict[str, list[str]]:
    """``TrainingDataset.__init__`` in DataLoader.py: the paths are used as they are, from the folder of the process."""
    content: dict[str, list[str]] = json.loads(Path(name, f"image2label_{mode}.json").read_text())
    return content


def label2image(name: str, mode: str) -> dict[str, str]:
    """``TestingDataset.__init__`` in DataLoader.py."""
    content: dict[str, str] = json.loads(Path(name, f"label2image_{mode}.json").read_text())
    return content


@pytest.fixture
def name(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> str:
    """The export's ``--data_path``, in the folder that training is started in."""
    folder = exports.make("sam_med2d")
    monkeypatch.chdir(folder.parent)
    return folder.name


@pytest.mark.parametrize("mode", ["train", "val", "test"])
def test_training_reads_five_masks_of_each_image(exports: Exports, name: str, mode: str) -> None:
    pairs = image2label(name, mode)
    assert [Path(path).stem for path in pairs] == [row["slice"] for row in exports.rows if row["split"] == mode]
    for path, masks in pairs.items():
        image = resize(cv2.imread(path))
        assert image.shape == (READER_SIZE, READER_SIZE, 3)
        for chosen in random.choices(masks, k=5):
            mask, (top, left, bottom, right) = read_mask(chosen)
            assert mask.shape == image.shape[:2] and bottom > top and right > left


@pytest.mark.parametrize("mode", ["train", "val", "test"])
def test_the_test_reads_each_mask_once_with_its_image(name: str, mode: str) -> None:
    pairs = label2image(name, mode)
    expected = {mask: image for image, masks in image2label(name, mode).items() for mask in masks}
    assert pairs == expected and len(pairs) > 0
    for mask, image in pairs.items():
        assert read_mask(mask)[0].any() and cv2.imread(image) is not None


def test_masks_are_those_of_the_published_labels(exports: Exports, name: str) -> None:
    for row in exports.rows:
        published = cv2.imread(str(exports.small.data / row["split"] / f"masks/{row['slice']}.png"), 0)
        for structure, value in LABELS.items():
            path = Path(name, "masks", f"{row['slice']}_{structure}_000.png")
            assert path.exists() == bool((published == value).any())
            if path.exists():
                np.testing.assert_array_equal(cv2.imread(str(path), 0), 255 * (published == value))
        image = Path(name, "images", f"{row['slice']}.png")
        assert image.samefile(exports.small.data / row["split"] / f"images/{row['slice']}.png")


@pytest.mark.parametrize("size", [(1024, 1024), (1000, 700), (300, 200), (200, 200)])
def test_a_mask_that_vanishes_in_the_reader_is_left_out(tmp_path: Path, size: tuple[int, int]) -> None:
    """Single pixels are there or not exactly as OpenCV's resizing leaves them or not."""
    random_places = np.random.default_rng(1)
    for number in range(20):
        label = np.zeros(size, np.uint8)
        for value in LABELS.values():
            label[tuple(random_places.integers(0, size))] = value
        written = _write_masks(tmp_path, {"slice": f"patient001_frame01_slice_{number}"}, label)
        names = {structure for structure in LABELS for file in written if f"_{structure}_" in file.path.name}
        assert names == {structure for structure, value in LABELS.items() if (resize(label) == value).any()}
        for file in written:
            read_mask(str(file.path))
