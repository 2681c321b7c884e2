"""Defects to plant in a published dataset, each with the check that must find it."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image

from acdc_medsam.formats.files import Row, read_table
from acdc_medsam.verify import checks
from small_dataset import IMAGE_SIZE, SmallDataset

Plant = Callable[[SmallDataset, Row], None]
"""Function that plants a defect in a dataset, in the files of the slice with a row of the manifest."""

DEFECTS: dict[Plant, str] = {}
"""Function that plants a defect -> name of the check that must find it."""


def found_by(check: str) -> Callable[[Plant], Plant]:
    """Add the decorated function to DEFECTS, with the name of the check that must find the defect."""

    def register(plant: Plant) -> Plant:
        DEFECTS[plant] = check
        return plant

    return register


def png_path(dataset: SmallDataset, row: Row, kind: str) -> Path:
    """Path of the PNG of a slice; ``kind`` is ``images`` or ``masks``."""
    return dataset.data / row["split"] / kind / f"{row['slice']}.png"


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a file. It is a hard link into work/, whose content must stay as it is."""
    path.unlink()
    path.write_bytes(data)


def replace_png(path: Path, pixels: np.ndarray) -> None:
    """Replace a PNG by one with other pixels."""
    path.unlink()
    Image.fromarray(pixels).save(path)


def replace_embedding(dataset: SmallDataset, row: Row, content: object) -> None:
    """Replace the embedding of a slice by a file with other content."""
    path = dataset.data / row["embedding"]
    path.unlink()
    torch.save(content, path)


def relabel_mask(dataset: SmallDataset, row: Row, old: int, new: int) -> None:
    """Replace one label of a mask by another."""
    path = png_path(dataset, row, "masks")
    mask = np.array(Image.open(path))
    mask[mask == old] = new
    replace_png(path, mask)


def zeros_but(value: float) -> torch.Tensor:
    """An embedding of zeros, in which one element has another value."""
    tensor = torch.zeros(256, 64, 64)
    tensor[0, 0, 0] = value
    return tensor


def edit_manifest(dataset: SmallDataset, row: Row, **changes: str) -> None:
    """Change columns of one row of the manifest."""
    path = dataset.data / "manifest.tsv"
    lines = path.read_text().splitlines()
    header = lines[0].split("\t")
    for index, line in enumerate(lines):
        cells = line.split("\t")
        if cells[0] == row["slice"]:
            for column, value in changes.items():
                cells[header.index(column)] = value
            lines[index] = "\t".join(cells)
    path.write_text("\n".join(lines) + "\n")


@found_by(checks.size_check(IMAGE_SIZE))
def image_of_another_size(dataset: SmallDataset, row: Row) -> None:
    """The image has half the configured size."""
    replace_png(png_path(dataset, row, "images"), np.zeros((32, 32), np.uint8))


@found_by(checks.UINT8)
def color_image(dataset: SmallDataset, row: Row) -> None:
    """The image has three channels."""
    replace_png(png_path(dataset, row, "images"), np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))


@found_by(checks.SAME_SHAPE)
def mask_of_another_shape(dataset: SmallDataset, row: Row) -> None:
    """The mask is smaller than its image."""
    replace_png(png_path(dataset, row, "masks"), np.ones((32, 32), np.uint8))


@found_by(checks.MASK_VALUES)
def unknown_label(dataset: SmallDataset, row: Row) -> None:
    """The mask contains a label that does not exist."""
    relabel_mask(dataset, row, old=3, new=4)


@found_by(checks.NOT_EMPTY)
def empty_mask(dataset: SmallDataset, row: Row) -> None:
    """The mask shows no structure."""
    replace_png(png_path(dataset, row, "masks"), np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8))


@found_by(checks.READABLE)
def truncated_png(dataset: SmallDataset, row: Row) -> None:
    """The mask is cut short."""
    path = png_path(dataset, row, "masks")
    replace_bytes(path, path.read_bytes()[:60])


@found_by(checks.EMBEDDING_SHAPED)
def embedding_of_another_shape(dataset: SmallDataset, row: Row) -> None:
    """The embedding has an additional dimension."""
    replace_embedding(dataset, row, torch.zeros(1, 256, 64, 64))


@found_by(checks.EMBEDDING_FINITE)
def float16_embedding(dataset: SmallDataset, row: Row) -> None:
    """The embedding has half precision."""
    replace_embedding(dataset, row, torch.zeros(256, 64, 64).half())


@found_by(checks.EMBEDDING_FINITE)
def nan_in_an_embedding(dataset: SmallDataset, row: Row) -> None:
    """One value of the embedding is NaN."""
    replace_embedding(dataset, row, zeros_but(float("nan")))


@found_by(checks.EMBEDDING_OWNER)
def another_embedding(dataset: SmallDataset, row: Row) -> None:
    """The embedding is a valid one, but not that of the image."""
    replace_embedding(dataset, row, zeros_but(1))


@found_by(checks.EMBEDDING_SHAPED)
def embedding_that_is_not_a_tensor(dataset: SmallDataset, row: Row) -> None:
    """The file of the embedding contains a dictionary."""
    replace_embedding(dataset, row, {"a": 1})


@found_by(checks.EMBEDDING_OWNER)
def swapped_embeddings(dataset: SmallDataset, row: Row) -> None:
    """Two slices have each other's embedding."""
    other = next(one for one in read_table(dataset.data / "manifest.tsv") if one["slice"] != row["slice"])
    first = dataset.data / row["embedding"]
    second = dataset.data / other["embedding"]
    spare = dataset.output / "spare"
    first.rename(spare)
    second.rename(first)
    spare.rename(second)


@found_by(checks.EMBEDDING_OWNER)
def changed_pixel(dataset: SmallDataset, row: Row) -> None:
    """One pixel of the image differs by one gray value."""
    path = png_path(dataset, row, "images")
    pixels = np.array(Image.open(path))
    pixels[0, 0] ^= 1
    replace_png(path, pixels)


@found_by(checks.APART)
def patient_in_two_splits(dataset: SmallDataset, row: Row) -> None:
    """One slice of a patient is in the other split."""
    edit_manifest(dataset, row, split="val" if row["split"] == "train" else "train")


@found_by(checks.ENCODING)
def no_positional_encoding(dataset: SmallDataset, row: Row) -> None:
    """The positional encoding is missing."""
    (dataset.data / "positional_encoding/pe.pt").unlink()


@found_by(checks.ONE_ENCODING)
def two_positional_encodings(dataset: SmallDataset, row: Row) -> None:
    """There is a second positional encoding."""
    (dataset.data / "train/pe.pt").touch()


@found_by(checks.HAS_MASK)
def no_mask(dataset: SmallDataset, row: Row) -> None:
    """The mask is missing."""
    png_path(dataset, row, "masks").unlink()


@found_by(checks.HAS_EMBEDDING)
def no_embedding(dataset: SmallDataset, row: Row) -> None:
    """The embedding is missing."""
    (dataset.data / row["embedding"]).unlink()


@found_by(checks.COUNTS)
def additional_image(dataset: SmallDataset, row: Row) -> None:
    """There is an image that the manifest does not list."""
    (dataset.data / "train/images/patient099_frame01_slice_0.png").touch()


@found_by(checks.FOLDERS)
def stray_file(dataset: SmallDataset, row: Row) -> None:
    """There is a file that does not belong to the dataset."""
    (dataset.data / "train/.DS_Store").touch()


@found_by(checks.FOLDERS)
def stray_folder(dataset: SmallDataset, row: Row) -> None:
    """There is a folder that does not belong to the dataset."""
    (dataset.data / "extra").mkdir()


@found_by(checks.H5_AGREES)
def another_label_in_the_h5_slice(dataset: SmallDataset, row: Row) -> None:
    """The H5 slice has another label than the H5 volume and the mask."""
    path = dataset.output / f"ACDC_training_slices/{row['slice']}.h5"
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["label"][0, 0] = 3


@found_by(checks.RECORDED)
def additional_byte_in_an_image(dataset: SmallDataset, row: Row) -> None:
    """The file of the image has a byte after the picture, whose pixels are unchanged."""
    path = png_path(dataset, row, "images")
    replace_bytes(path, path.read_bytes() + b"x")


@found_by(checks.RECORDED)
def another_attribute_in_the_h5_volume(dataset: SmallDataset, row: Row) -> None:
    """An attribute of the H5 volume was edited."""
    path = next(dataset.output.glob(f"ACDC_training_volumes/{row['patient']}*"))
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file.attrs["height"] = 1.0


@found_by(checks.RECORDED)
def edited_metadata(dataset: SmallDataset, row: Row) -> None:
    """The table for the library `datasets` was edited."""
    path = dataset.data / row["split"] / "metadata.csv"
    replace_bytes(path, path.read_bytes().replace(b",ED,", b",ES,"))


@found_by(checks.RECORDED)
def no_metadata(dataset: SmallDataset, row: Row) -> None:
    """The table for the library `datasets` is missing."""
    (dataset.data / row["split"] / "metadata.csv").unlink()


@found_by(checks.H5_AGREES)
def another_label_in_the_mask(dataset: SmallDataset, row: Row) -> None:
    """The mask has another valid label than the H5 slice."""
    relabel_mask(dataset, row, old=3, new=2)


@found_by(checks.H5_AGREES)
def no_h5_slice(dataset: SmallDataset, row: Row) -> None:
    """The H5 slice is missing."""
    (dataset.output / f"ACDC_training_slices/{row['slice']}.h5").unlink()


@found_by(checks.H5_AGREES)
def no_h5_volume(dataset: SmallDataset, row: Row) -> None:
    """The H5 volume is missing."""
    next(dataset.output.glob(f"ACDC_training_volumes/{row['patient']}*")).unlink()
