"""PNG files: every reader opens them, their pixels are those that were given, and no file can do harm."""

import io
import shutil
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from skimage.io import imread

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.png import (
    MAX_PIXELS,
    RowFilter,
    _assemble,
    decode_own_png,
    encode_png,
    filter_rows,
    read_gray,
    unfilter_rows,
    write_png,
)

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
SMOOTH = (np.add.outer(np.arange(300), 2 * np.arange(200)) % 256).astype(np.uint8)
grays = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20))
filters = pytest.mark.parametrize("row_filter", RowFilter)


def by_pillow(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data), formats=("PNG",)))


def by_opencv(data: bytes) -> Any:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed; `make test` installs it")
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def by_imagecodecs(data: bytes) -> Any:
    imagecodecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed; `make test` installs it")
    return imagecodecs.png_decode(data)


def by_skimage(data: bytes) -> Any:
    return imread(io.BytesIO(data))


READERS: tuple[Callable[[bytes], Any], ...] = (by_pillow, by_opencv, by_imagecodecs, by_skimage, decode_own_png)


@filters
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_every_reader_sees_the_same_pixels(reader: Callable[[bytes], Any], row_filter: RowFilter) -> None:
    for pixels in (SMOOTH, SMOOTH % 4, PIXELS, PIXELS[:1, :1]):
        seen = reader(encode_png(pixels, row_filter))
        assert seen.dtype == np.uint8
        np.testing.assert_array_equal(seen, pixels)


@filters
def test_pngcheck_finds_no_fault(row_filter: RowFilter, tmp_path: Path) -> None:
    if shutil.which("pngcheck") is None:
        pytest.skip("pngcheck is not installed (Debian: apt-get install pngcheck)")
    paths = [write_png(tmp_path / f"{len(one)}.png", one, row_filter).path for one in (SMOOTH, PIXELS, PIXELS[:1, :1])]
    checked = subprocess.run(["pngcheck", "-v", *paths], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("No errors detected") == len(paths)
    assert checked.stdout.count("8-bit grayscale, non-interlaced") == len(paths)


@given(grays, st.sampled_from(RowFilter))
def test_any_image_comes_back(pixels: Any, row_filter: RowFilter) -> None:
    rows = filter_rows(pixels, row_filter)
    assert rows.shape == (pixels.shape[0], pixels.shape[1] + 1) and set(rows[:, 0]) == {row_filter}
    np.testing.assert_array_equal(unfilter_rows(rows), pixels)
    data = encode_png(pixels, row_filter)
    np.testing.assert_array_equal(decode_own_png(data), pixels)
    np.testing.assert_array_equal(by_pillow(data), pixels)


def test_up_is_the_difference_from_the_row_above_modulo_256() -> None:
    pixels = np.array([[1, 200], [3, 100], [2, 101]], np.uint8)
    assert filter_rows(pixels, RowFilter.UP).tolist() == [[2, 1, 200], [2, 2, 156], [2, 255, 1]]
    assert pixels.tolist() == [[1, 200], [3, 100], [2, 101]], "the image itself is left as it is"


@filters
def test_the_same_image_gives_the_same_bytes(row_filter: RowFilter) -> None:
    first = encode_png(SMOOTH, row_filter)
    for side in range(1, 40):
        encode_png(np.random.default_rng(side).integers(0, 256, (side * 7, side), np.uint8), row_filter)
        assert encode_png(np.asfortranarray(SMOOTH), row_filter) == first


def test_the_pixels_that_were_read_may_be_written_to(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "pillow.png")
    write_png(tmp_path / "own.png", PIXELS)
    for path in tmp_path.iterdir():
        pixels = read_gray(path)
        pixels += 1
        np.testing.assert_array_equal(pixels, PIXELS + 1)


def test_files_of_other_programs_are_read_by_pillow(tmp_path: Path) -> None:
    path = tmp_path / "gray.png"
    for options in ({}, {"compress_level": 1, "compress_type": 3}, {"optimize": True}, {"dpi": (300, 300)}):
        Image.fromarray(SMOOTH).save(path, **options)
        assert decode_own_png(path.read_bytes()) is None
        np.testing.assert_array_equal(read_gray(path), SMOOTH)


def test_color_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "color.png")
    with pytest.raises(DatasetError, match=r"color\.png: mode RGB instead of 8-bit grayscale"):
        read_gray(tmp_path / "color.png")


def test_a_damaged_png_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(DatasetError, match=r"bad\.png: not a readable PNG"):
        read_gray(tmp_path / "bad.png")


@given(grays, st.sampled_from(RowFilter), st.data())
def test_no_damage_is_read_as_something_else(pixels: Any, row_filter: RowFilter, data: st.DataObject) -> None:
    whole = encode_png(pixels, row_filter)
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    damages = (whole[:place] + flipped + whole[place + 1 :], whole[:place], whole + b"\0")
    assert [decode_own_png(damaged) for damaged in damages] == [None] * 3


ROWS = filter_rows(PIXELS, RowFilter.UP).tobytes()
FORGED = {
    "one row too few": zlib.compress(ROWS[:-5]),
    "one row too many": zlib.compress(ROWS + ROWS[:5]),
    "nothing": zlib.compress(b""),
    "no stream at all": b"",
    "no zlib stream": b"nothing of the kind",
    "cut short": zlib.compress(ROWS)[:-6],
    "no checksum": zlib.compress(ROWS)[:-4],
    "wrong checksum": zlib.compress(ROWS)[:-4] + bytes(4),
    "more behind the stream": zlib.compress(ROWS) + bytes(9),
    "filter Paeth": zlib.compress(b"\4" + ROWS[1:]),
    "rows of two filters": zlib.compress(b"\0" + ROWS[1:]),
    "no filter of that number": zlib.compress(b"\xff" + ROWS[1:]),
    "many times its size": zlib.compress(bytes(2**24), 9),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_file_with_right_checksums_is_left_to_pillow(forged: str, tmp_path: Path) -> None:
    data = _assemble(4, 3, FORGED[forged])
    tracemalloc.start()
    assert decode_own_png(data) is None
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    (tmp_path / "forged.png").write_bytes(data)
    try:
        assert read_gray(tmp_path / "forged.png").shape == PIXELS.shape
    except DatasetError as error:
        assert "forged.png: not a readable PNG" in str(error)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=80))
@example(4, 3, zlib.compress(ROWS))
@example(4096, 4096, zlib.compress(bytes(2**24)))
@example(MAX_PIXELS, 1, b"")
def test_any_claim_is_right_or_refused(width: int, height: int, compressed: bytes) -> None:
    data = _assemble(width, height, compressed)
    pixels = decode_own_png(data)
    if pixels is not None:
        assert pixels.shape == (height, width)
        np.testing.assert_array_equal(by_pillow(data), pixels)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [100_000, 4_097, 12_000])
def test_a_png_that_claims_too_much_is_refused_unread(side: int, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(_assemble(side, side, zlib.compress(bytes(2**20))))
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r"bomb\.png: (claims|not a readable PNG)"):
        read_gray(tmp_path / "bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_file_that_is_larger_than_any_image_is_not_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(encode_png(PIXELS)[:-12])
    with path.open("r+b") as file:
        file.truncate(2**33)
    tracemalloc.start()
    try:
        read_gray(path)
    except DatasetError as error:
        assert "long.png: not a readable PNG" in str(error)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
