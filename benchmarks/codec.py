"""Time the workflow's compression beside what Pillow, HDF5 and Python's gzip do, in turns, and compare the results.

    python benchmarks/codec.py --patients 6
    python benchmarks/codec.py --raw ACDC/raw

The times are the best of all rounds, per image, volume or file, without reading from or writing to a disk.
"""

import argparse
import gzip
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from isal import igzip
from PIL import Image

from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.formats.h5 import _write_dataset
from acdc_medsam.formats.png import Gray, RowFilter, decode_own_png, encode_png
from acdc_medsam.stages.normalize import normalize_intensities, read_frame
from acdc_medsam.stages.render import resize_image, resize_label
from cohort import make_phantoms

Codec = Callable[[Any], Any]


@dataclass
class Sample:
    """What is compressed and decompressed.

    Attributes:
        images: Images (S, S) uint8.
        masks: Masks (S, S) uint8 in {0, 1, 2, 3}.
        volumes: Pairs of (Z, H, W) float32 in [0, 1] and (Z, H, W) uint8.
        zipped: Content of the raw files ``.nii.gz``, images and labels.
    """

    images: list[Gray] = field(default_factory=list)
    masks: list[Gray] = field(default_factory=list)
    volumes: list[tuple[npt.NDArray[np.float32], Gray]] = field(default_factory=list)
    zipped: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """Two ways to do the same.

    Attributes:
        name: What is done.
        old: The usual way.
        new: The workflow's way.
        items: What it is done to: pairs of the argument of ``old`` and that of ``new``.
        look: Function that turns a result into what must be equal for both ways.
    """

    name: str
    old: Codec
    new: Codec
    items: Sequence[tuple[Any, Any]]
    look: Codec


def take_sample(raw: Path, size: int, every: int) -> Sample:
    """Read all frames of a raw folder, and make images and masks of every ``every``-th slice with structures."""
    sample = Sample()
    number = 0
    for frame in (frame for patient in find_cohort(raw).patients for frame in patient.frames):
        volume = read_frame(frame)
        normalized = normalize_intensities(volume.image).image
        sample.volumes.append((normalized, volume.label))
        sample.zipped += [path.read_bytes() for path in (frame.image, frame.label) if path.suffix == ".gz"]

        for image, label in zip(normalized, volume.label, strict=True):
            if label.any():
                if number % every == 0:
                    sample.images.append(resize_image(image, size))
                    sample.masks.append(resize_label(label, size))
                number += 1
    return sample


def save_by_pillow(pixels: Gray) -> bytes:
    """Encode a PNG by Pillow with zlib's fastest level and its run-length strategy, the fastest that Pillow offers."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=1, compress_type=3)
    return buffer.getvalue()


def open_by_pillow(data: bytes) -> Gray:
    """Decode a PNG by Pillow."""
    return np.asarray(Image.open(io.BytesIO(data)))


def write_volume(volume: Sequence[npt.NDArray[Any]], write: Callable[..., Any]) -> bytes:
    """Write an image and a label as an H5 file in memory, one chunk per slice."""
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        for name, array in zip(("image", "label"), volume, strict=True):
            write(file, name, array, (1, *array.shape[1:]))
        file.flush()
        return bytes(file.id.get_file_image())


def write_by_hdf5(file: h5py.File, name: str, array: npt.NDArray[Any], chunks: tuple[int, ...]) -> None:
    """Write a dataset by the HDF5 library's own filter."""
    file.create_dataset(name, data=array, chunks=chunks, compression="gzip")


def read_volume(data: bytes) -> bytes:
    """Return the voxels of an H5 file as the HDF5 library reads them."""
    with h5py.File(io.BytesIO(data)) as file:
        return b"".join(file[name][:].tobytes() for name in ("image", "label"))


def compare_ways(sample: Sample) -> Iterator[Comparison]:
    """Yield every comparison. Each way reads the files that it writes itself."""
    for name, arrays, row_filter in (("image", sample.images, RowFilter.UP), ("mask", sample.masks, RowFilter.NONE)):
        files = [(save_by_pillow(array), encode_png(array, row_filter)) for array in arrays]
        twice = list(zip(arrays, arrays, strict=True))

        def encode(pixels: Gray, row_filter: RowFilter = row_filter) -> bytes:
            return encode_png(pixels, row_filter)

        yield Comparison(
            f"write a PNG {name}", save_by_pillow, encode, twice, lambda data: open_by_pillow(data).tobytes()
        )
        yield Comparison(f"read a PNG {name}", open_by_pillow, decode_own_png, files, lambda pixels: pixels.tobytes())

    yield Comparison(
        "write an H5 volume",
        lambda volume: write_volume(volume, write_by_hdf5),
        lambda volume: write_volume(volume, _write_dataset),
        list(zip(sample.volumes, sample.volumes, strict=True)),
        read_volume,
    )
    # As the workflow reads: as many bytes as the header says, and somewhat more.
    zipped = [(data, len(gzip.decompress(data)) * 11 // 10) for data in sample.zipped]
    yield Comparison(
        "unzip a NIfTI file",
        lambda item: gzip.GzipFile(fileobj=io.BytesIO(item[0])).read(item[1]),
        lambda item: igzip.IGzipFile(fileobj=io.BytesIO(item[0])).read(item[1]),
        list(zip(zipped, zipped, strict=True)),
        bytes,
    )


def measure(comparison: Comparison, rounds: int) -> dict[str, Any]:
    """Time both ways in turns, and compare their results; ends the process if these differ."""
    seconds: dict[str, list[float]] = {"old": [], "new": []}
    results: dict[str, list[Any]] = {}
    for _ in range(rounds):
        for place, (way, codec) in enumerate((("old", comparison.old), ("new", comparison.new))):
            items = [pair[place] for pair in comparison.items]
            started = time.perf_counter()
            results[way] = [codec(item) for item in items]
            seconds[way].append((time.perf_counter() - started) / len(items))

    for old, new in zip(results["old"], results["new"], strict=True):
        if comparison.look(old) != comparison.look(new):
            sys.exit(f"{comparison.name}: the results differ")
    best = {way: min(times) * 1000 for way, times in seconds.items()}
    sizes = {way: sum(map(len, found)) / len(found) / 1000 for way, found in results.items()}
    written = comparison.name.startswith("write")
    return {
        "name": comparison.name,
        "items": len(comparison.items),
        "old_ms": best["old"],
        "new_ms": best["new"],
        "ratio": best["old"] / best["new"],
        **{f"{way}_kb": sizes[way] for way in sizes if written},
    }


def main() -> None:
    """Read the command line, compare, and print a table or one JSON object per comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=6, help="synthetic patients of ACDC's size")
    parser.add_argument("--raw", type=Path, help="folder with training/ and testing/ to use instead")
    parser.add_argument("--size", type=int, default=1024, help="side of the images in pixels")
    parser.add_argument("--every", type=int, default=3, help="use every n-th slice")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, of which the best times are reported")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    options = parser.parse_args()

    sample = take_sample(options.raw or make_phantoms(options.patients), options.size, options.every)
    if not options.json:
        print(f"{'':<20} {'items':>5} {'old ms':>8} {'new ms':>8} {'ratio':>6} {'old kB':>8} {'new kB':>8}")
    for comparison in compare_ways(sample):
        row = measure(comparison, options.rounds)
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        sizes = " ".join(f"{row[key]:>8.1f}" for key in ("old_kb", "new_kb") if key in row)
        times = f"{row['old_ms']:>8.2f} {row['new_ms']:>8.2f} {row['ratio']:>6.1f}"
        print(f"{row['name']:<20} {row['items']:>5} {times} {sizes}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
