"""All slices of a volume: those that the dataset has, and those that it lacks, made from the H5 volume.

A dataset leaves out slices without structures. A segmentation of a whole volume must stand the test there too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import SUBSETS, volume_name
from acdc_medsam.data.prompts import tight_box
from acdc_medsam.data.slices import SliceDataset, SliceItem
from acdc_medsam.encoders.decoder import PROMPT_SIZE
from acdc_medsam.errors import DatasetError
from acdc_medsam.evaluate.volumes import Truth
from acdc_medsam.formats.files import Row
from acdc_medsam.formats.png import read_gray
from acdc_medsam.layout import h5_folder
from acdc_medsam.stages.render import resize_image, resize_label

Encode = Callable[[Tensor], Tensor]
"""From gray images (B, S, S) uint8 to embeddings (B, 256, 64, 64) float32."""


class VolumeSlices:
    """The slices of whole volumes, each as an item of a :class:`SliceDataset` with tight boxes."""

    def __init__(self, dataset: SliceDataset, encode: Encode) -> None:
        """Remember where the dataset has its slices.

        Args:
            dataset: The slices that the dataset has, with masks of 1024 pixels and with boxes.
            encode: The image encoder that made the dataset's embeddings, for the slices that the dataset lacks.
        """
        self.dataset = dataset
        self.encode = encode
        self.places = defaultdict[str, dict[int, int]](dict)
        for place, row in enumerate(dataset.rows):
            volume = volume_name(row["patient"], int(row["frame"]))
            self.places[volume][int(row["slice_index"])] = place
        first = dataset.root / dataset.split / "images" / f"{dataset.rows[0]['slice']}.png"
        self.image_size = len(read_gray(first))

    def of(self, truth: Truth) -> Iterator[SliceItem]:
        """Yield every slice of a volume, by its place along z."""
        places = self.places[truth.name]
        # A place outside of the volume, which the manifest may name, is left for `to_volume` to refuse.
        for number in sorted({*range(len(truth.label)), *places}):
            yield self.dataset[places[number]] if number in places else self.make(truth, number)

    def lacking(self, truth: Truth) -> int:
        """Count the slices of a volume that the dataset lacks."""
        return len(set(range(len(truth.label))) - self.places[truth.name].keys())

    def make(self, truth: Truth, number: int) -> SliceItem:
        """Make the item of a slice as the stages render and embed would have made it."""
        image = torch.from_numpy(resize_image(truth.image[number], self.image_size).copy())
        mask = torch.from_numpy(resize_label(truth.label[number], PROMPT_SIZE).copy())
        shown = [mask == value for value in LABELS.values()]
        return {
            "slice": f"{truth.name}_slice_{number}",
            "slice_index": str(number),
            "embedding": self.encode(image[None])[0],
            "mask": mask,
            "boxes": torch.stack([tight_box(one) if one.any() else torch.zeros(4) for one in shown]),
            "present": torch.stack([one.any() for one in shown]),
        }


def find_volume(folder: Path, name: str) -> Path:
    """Find a published H5 volume below ``folder``.

    Raises:
        DatasetError: There is no such file.
    """
    places = [folder / h5_folder(subset, "volumes") / f"{name}.h5" for subset in SUBSETS]
    for place in places:
        if place.is_file():
            return place
    raise DatasetError(f"{name}.h5 is in none of {', '.join(str(place.parent) for place in places)}; see --volumes")


def find_volumes(folder: Path, rows: Sequence[Row]) -> dict[str, Path]:
    """Find the H5 volumes of all patients that some slices are of, also volumes without a slice in the dataset.

    Args:
        folder: The folder that holds ``ACDC_training_volumes``.
        rows: Rows of the manifest.

    Returns:
        The volume's name -> its file.

    Raises:
        DatasetError: There is no file for a volume that the manifest names.
    """
    named = {volume_name(row["patient"], int(row["frame"])) for row in rows}
    folders = [folder / h5_folder(subset, "volumes") for subset in SUBSETS]
    patients = {row["patient"] for row in rows}
    there = {path.stem for patient in patients for below in folders for path in below.glob(f"{patient}_frame*.h5")}
    return {name: find_volume(folder, name) for name in sorted(named | there)}


def require_whole_patients(manifest: Path, rows: Sequence[Row], split: str) -> None:
    """Stop where patients of a split have slices in another split too.

    Args:
        manifest: The dataset's manifest, for the message.
        rows: All rows of the manifest.
        split: The split that is to be measured.

    Raises:
        DatasetError: There are such patients.
    """
    patients = {row["patient"] for row in rows if row["split"] == split}
    shared = patients & {row["patient"] for row in rows if row["split"] != split}
    if shared:
        raise DatasetError(
            f"{manifest}: {len(shared)} of the {len(patients)} patients of '{split}' have slices in another split too, "
            "so their volumes cannot be measured apart from what was trained on; set split.unit: patient in "
            "config.yaml and run the workflow again"
        )
