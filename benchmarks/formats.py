"""Compare the formats of a dataset: size on disk, time to read one slice, and what is lost.

    python benchmarks/formats.py --patients 6
    python benchmarks/formats.py --raw ACDC/raw

A slice is an image with its label, read as a user reads it: by NiBabel, h5py, Pillow or PyTorch, from files that the
system has in memory. The time is the best of all rounds. The embedding has random values, because neither its size nor
its time depends on them. An error is the difference between an intensity and what can be restored of it, divided by the
range from the smallest intensity to the one at which the volume is clipped. Voxels above that are counted as clipped.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.acdc.raw_nifti import Frame, Patient
from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.tensors import save_tensor
from acdc_medsam.layout import EMBEDDING_SHAPE
from acdc_medsam.stages.normalize import normalize_intensities, normalize_patient, read_frame
from acdc_medsam.stages.render import render_patient
from cohort import make_phantoms

FORMATS = ("NIfTI", "H5 volume", "H5 slice", "PNG", "embedding")
Pixels = npt.NDArray[Any]
Read = Callable[[], tuple[Pixels, Pixels] | torch.Tensor]


@dataclass
class Figures:
    """What is known of one format.

    Attributes:
        files: Every file once, with its size in bytes.
        slices: Number of slices in these files.
        seconds: Best time of each slice that was read.
        clipped: For each slice, the share of its voxels that were clipped.
        errors: For each slice, the mean and the largest error of all voxels that were not clipped.
        changed: For each slice, the share of its voxels with another label.
    """

    files: dict[Path, int] = field(default_factory=dict)
    slices: int = 0
    seconds: list[float] = field(default_factory=list)
    clipped: list[float] = field(default_factory=list)
    errors: list[tuple[float, float]] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)


def read_nifti_slice(frame: Frame, index: int) -> tuple[Pixels, Pixels]:
    """Read a slice (H, W) of a raw image and its label by NiBabel."""
    image, label = (np.asarray(nib.load(path).dataobj[..., index]).T for path in (frame.image, frame.label))
    return image, label


def read_h5_volume(path: Path, index: int) -> tuple[Pixels, Pixels]:
    """Read a slice (H, W) of an H5 volume by h5py."""
    with h5py.File(path) as file:
        return file["image"][index], file["label"][index]


def read_h5_slice(path: Path) -> tuple[Pixels, Pixels]:
    """Read an H5 slice (H, W) by h5py."""
    with h5py.File(path) as file:
        return file["image"][:], file["label"][:]


def read_png(image: Path, mask: Path) -> tuple[Pixels, Pixels]:
    """Read a PNG image and its mask by Pillow."""
    return np.asarray(Image.open(image)), np.asarray(Image.open(mask))


def read_embedding(path: Path) -> torch.Tensor:
    """Read an embedding by PyTorch."""
    embedding: torch.Tensor = torch.load(path, weights_only=True)
    return embedding


def resize_back(pixels: Pixels, shape: tuple[int, ...], method: Image.Resampling) -> Pixels:
    """Resize a PNG to the size (H, W) that its slice was acquired with."""
    height, width = shape
    return np.asarray(Image.fromarray(pixels).resize((width, height), method))


def write_all(patient: Patient, folder: Path, size: int) -> None:
    """Write a patient's H5 files, PNGs and embeddings of random values."""
    normalize_patient(patient.folder, folder / "h5/index.tsv", percentile=99, on_invalid="stop")
    render_patient(folder / "h5/index.tsv", folder / "png/index.tsv", folder / "png/slices.tsv", size, keep_empty=True)
    (folder / "pt").mkdir()
    for path in (folder / "png/images").iterdir():
        save_tensor(torch.rand(EMBEDDING_SHAPE), folder / "pt" / f"{path.stem}.pt")


def find_readers(frame: Frame, folder: Path, volume: Path, index: int) -> Iterator[tuple[str, tuple[Path, ...], Read]]:
    """Yield, for one slice, each format with its files and the function that reads it."""
    name = f"{volume.stem}_slice_{index}"
    single = folder / "h5/slices" / f"{name}.h5"
    pair = (folder / "png/images" / f"{name}.png", folder / "png/masks" / f"{name}.png")
    embedding = folder / "pt" / f"{name}.pt"
    yield "NIfTI", (frame.image, frame.label), lambda: read_nifti_slice(frame, index)
    yield "H5 volume", (volume,), lambda: read_h5_volume(volume, index)
    yield "H5 slice", (single,), lambda: read_h5_slice(single)
    yield "PNG", pair, lambda: read_png(*pair)
    yield "embedding", (embedding,), lambda: read_embedding(embedding)


def time_read(read: Read, rounds: int) -> float:
    """Return the best time of a function in seconds."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        read()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure_frame(frame: Frame, folder: Path, volume: Path, rounds: int, figures: dict[str, Figures]) -> None:
    """Read all slices of a frame in each format, and add what is found to the figures."""
    source = read_frame(frame)
    normalized = normalize_intensities(source.image)
    low = normalized.raw_min
    width = normalized.clip_level - low

    for index, (raw, label) in enumerate(zip(source.image, source.label, strict=True)):
        kept = raw <= normalized.clip_level
        for name, paths, read in find_readers(frame, folder, volume, index):
            found = figures[name]
            found.files |= {path: path.stat().st_size for path in paths}
            found.slices += 1
            found.seconds.append(time_read(read, rounds))
            content = read()
            if isinstance(content, torch.Tensor):
                continue

            image, mask = content
            if name == "PNG":
                image = resize_back(image, raw.shape, Image.Resampling.BILINEAR) / 255
                mask = resize_back(mask, raw.shape, Image.Resampling.NEAREST)
            # NIfTI files have the raw intensities, the others those that were scaled to [0, 1].
            scaled = (image - low) / width if name == "NIfTI" else image
            error = np.abs(scaled - (raw - low) / width)[kept]
            found.clipped.append(0.0 if name == "NIfTI" else float((~kept).mean()))
            found.errors.append((float(error.mean()), float(error.max())))
            found.changed.append(float((mask != label).mean()))


def summarize(name: str, found: Figures, patients: int) -> dict[str, Any]:
    """Return the figures of one format, sizes in bytes."""
    size = sum(found.files.values())
    row: dict[str, Any] = {
        "format": name,
        "files_per_patient": len(found.files) / patients,
        "bytes_per_patient": size / patients,
        "bytes_per_slice": size / found.slices,
        "ms_per_slice": 1000 * sum(found.seconds) / found.slices,
    }
    if found.errors:
        means, largest = zip(*found.errors, strict=True)
        row |= {"clipped": np.mean(found.clipped), "mean_error": np.mean(means), "largest_error": max(largest)}
        row["labels_changed"] = np.mean(found.changed)
    return {key: value if isinstance(value, str) else float(value) for key, value in row.items()}


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print one line for each format."""
    print(
        f"{'':<10} {'files':>6} {'MB':>7} {'kB/slice':>9} {'ms/slice':>9} {'clipped':>8} {'mean error':>11} "
        f"{'largest':>9} {'labels changed':>15}"
    )
    for row in rows:
        sizes = f"{row['bytes_per_patient'] / 1e6:>7.2f} {row['bytes_per_slice'] / 1e3:>9.1f}"
        line = f"{row['format']:<10} {row['files_per_patient']:>6.0f} {sizes} {row['ms_per_slice']:>9.2f}"
        if "mean_error" in row:
            errors = f"{row['mean_error']:>11.1e} {row['largest_error']:>9.1e}"
            line += f" {row['clipped']:>8.2%} {errors} {row['labels_changed']:>15.2%}"
        print(line)


def main() -> None:
    """Read the command line, compare, and print a table or one JSON object per format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=6, help="synthetic patients of ACDC's size")
    parser.add_argument("--raw", type=Path, help="folder with training/ and testing/ to use instead")
    parser.add_argument("--size", type=int, default=1024, help="side of the images in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="number of reads, of which the best time is reported")
    parser.add_argument("--json", action="store_true", help="print one JSON object per format")
    options = parser.parse_args()

    cohort = find_cohort(options.raw or make_phantoms(options.patients))
    patients = [patient for patient in cohort.patients if isinstance(patient, Patient)]
    if not patients:
        sys.exit(f"{options.raw} holds no NIfTI files of patients")
    figures = {name: Figures() for name in FORMATS}
    for patient in patients:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_all(patient, folder, options.size)
            volumes = [record.path for record, _ in read_records(folder / "h5/index.tsv")]
            volumes = sorted(path for path in volumes if path.parent.name == "volumes")
            for frame, volume in zip(sorted(patient.frames, key=lambda one: one.image), volumes, strict=True):
                measure_frame(frame, folder, volume, options.rounds, figures)

    rows = [summarize(name, found, len(patients)) for name, found in figures.items()]
    if options.json:
        print("\n".join(map(json.dumps, rows)))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
