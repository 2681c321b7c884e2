from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acdc_medsam.errors import DatasetError
from acdc_medsam.png import read_gray


def test_gray_values_are_read_as_they_are(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(pixels).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_gray(tmp_path / "gray.png"), pixels)


def test_colour_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    with pytest.raises(DatasetError, match=r"colour\.png: mode RGB instead of 8-bit grayscale"):
        read_gray(tmp_path / "colour.png")


def test_a_damaged_png_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(DatasetError, match=r"bad\.png: not a readable PNG"):
        read_gray(tmp_path / "bad.png")
