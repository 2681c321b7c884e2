"""All slices of a volume: those in the dataset, and those missing from it, which are made from the H5 volume.

A dataset leaves out slices without structures, but the segmentation of a whole volume has to be right there too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import SUBSETS, h5_folder, volume_name
from acdc_medsam.data.assignment import AS_PUBLISHED, Assignment
from acdc_medsam.data.prompts import tight_box
from acdc_medsam.data.slices import SliceDataset, SliceItem
from acdc_medsam.encoders.decoder import PROMPT_SIZE
from acdc_medsam.errors import DatasetError
from acdc_medsam.evaluate.volumes import Truth
from acdc_medsam.formats.files import Row
from acdc_medsam.formats.png import read_gray
from acdc_medsam.stages.render import resize_image, resize_label

Encode = Callable[[Tensor], Tensor]
"""Function from gray images (B, S, S) uint8 to embeddings (B, 256, 64, 64) float32."""


class VolumeSlices:
    """The slices of whole volumes, each as an item of a :class:`SliceDataset` with tight boxes."""

    def __init__(self, dataset: SliceDataset, encode: Encode) -> None:
        """Index the slices of the dataset by volume.

        Args:
            dataset: The slices in the dataset, with masks of 1024 pixels and with boxes.
            encode: The image encoder that made the dataset's embeddings, for the slices missing from the dataset.
        """
        self.dataset = dataset
        self.encode = encode

        self.indices: defaultdict[str, dict[int, int]] = defaultdict(dict)
        for index, row in enumerate(dataset.rows):
            volume = volume_name(row["patient"], int(row["frame"]))
            self.indices[volume][int(row["slice_index"])] = index

        # The encoder saw images of this size, so those of the missing slices must have it too.
        row = dataset.rows[0]
        first = dataset.root / row["split"] / "images" / f"{row['slice']}.png"
        self.image_size = len(read_gray(first))

    def items(self, truth: Truth) -> Iterator[SliceItem]:
        """Yield every slice of a volume, in the order of the slice indices."""
        indices = self.indices[truth.name]
        # The manifest may name a slice outside the volume, which `stack_slices` reports.
        for slice_index in sorted({*range(len(truth.label)), *indices}):
            in_dataset = slice_index in indices
            yield self.dataset[indices[slice_index]] if in_dataset else self.make_item(truth, slice_index)

    def count_missing(self, truth: Truth) -> int:
        """Count the slices of a volume that are missing from the dataset."""
        return len(set(range(len(truth.label))) - self.indices[truth.name].keys())

    def make_item(self, truth: Truth, slice_index: int) -> SliceItem:
        """Make the item of a slice as the stages render and embed would have made it."""
        image = torch.from_numpy(resize_image(truth.image[slice_index], self.image_size).copy())
        mask = torch.from_numpy(resize_label(truth.label[slice_index], PROMPT_SIZE).copy())
        masks = [mask == value for value in LABELS.values()]
        return {
            "slice": f"{truth.name}_slice_{slice_index}",
            "slice_index": str(slice_index),
            "embedding": self.encode(image[None])[0],
            "mask": mask,
            "boxes": torch.stack([tight_box(one) if one.any() else torch.zeros(4) for one in masks]),
            "present": torch.stack([one.any() for one in masks]),
        }


def find_volume(folder: Path, name: str) -> Path:
    """Find a published H5 volume.

    Args:
        folder: The folder that holds ``ACDC_training_volumes``.
        name: The volume's name, such as ``patient001_frame01``.

    Raises:
        DatasetError: There is no such file.
    """
    candidates = [folder / h5_folder(subset, "volumes") / f"{name}.h5" for subset in SUBSETS]
    for path in candidates:
        if path.is_file():
            return path
    folders = ", ".join(str(path.parent) for path in candidates)
    raise DatasetError(f"{name}.h5 is in none of {folders}; name the folder that holds them with --volumes")


def find_volumes(folder: Path, rows: Sequence[Row]) -> dict[str, Path]:
    """Find the H5 volumes of all patients that occur in the manifest, including volumes without a slice in it.

    Args:
        folder: The folder that holds ``ACDC_training_volumes``.
        rows: Rows of the manifest.

    Returns:
        The file of each volume, by the volume's name.

    Raises:
        DatasetError: A volume that the manifest names has no file.
    """
    named = {volume_name(row["patient"], int(row["frame"])) for row in rows}
    patients = {row["patient"] for row in rows}
    folders = [folder / h5_folder(subset, "volumes") for subset in SUBSETS]
    present = {path.stem for patient in patients for below in folders for path in below.glob(f"{patient}_frame*.h5")}
    return {name: find_volume(folder, name) for name in sorted(named | present)}


def require_whole_patients(
    manifest: Path, rows: Sequence[Row], split: str, assignment: Assignment = AS_PUBLISHED
) -> None:
    """Require that no patient of a split has slices in another split.

    Args:
        manifest: The dataset's manifest, for the message.
        rows: All rows of the manifest.
        split: The split that is to be measured.
        assignment: Which slices belong to which split.

    Raises:
        DatasetError: A patient has slices in two splits.
    """
    patients = {row["patient"] for row in rows if assignment.split_of(row) == split}
    shared = patients & {row["patient"] for row in rows if assignment.split_of(row) != split}
    if shared:
        raise DatasetError(
            f"{manifest}: {len(shared)} of the {len(patients)} patients of '{split}' have slices in another split too, "
            "so their volumes cannot be measured apart from the training slices; set split.unit: patient in "
            "config.yaml and run the workflow again"
        )
