import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.png import read_gray


def test_gray_values_are_read_unchanged(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(pixels).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_gray(tmp_path / "gray.png"), pixels)


def test_color_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "color.png")
    with pytest.raises(DatasetError, match=r"color\.png: mode RGB instead of 8-bit grayscale"):
        read_gray(tmp_path / "color.png")


def test_a_damaged_png_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(DatasetError, match=r"bad\.png: not a readable PNG"):
        read_gray(tmp_path / "bad.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [100_000, 4_097, 12_000])
def test_a_png_that_claims_too_much_is_refused_unread(side: int, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(2**20)))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r"bomb\.png: (claims|not a readable PNG)"):
        read_gray(tmp_path / "bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
