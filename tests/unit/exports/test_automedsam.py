"""The export automedsam, read as an implementation of AutoMedSAM reads it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.layout import EMBEDDING_SHAPE
from exported import Exports


def sample_names(data_dir: Path, split: str, task: str) -> list[str]:
    """``_load_samples`` in dataset.py of vinhnamhai321/AutoMedSAM: the names of the embeddings of a task."""
    return sorted(path.stem for path in (data_dir / split / task / "image_embeddings").glob("*.pt"))


def read_sample(data_dir: Path, split: str, task: str, name: str) -> tuple[torch.Tensor, NDArray[np.float32]]:
    """Embedding and mask (1, H, W), as ``__getitem__`` in dataset.py of vinhnamhai321/AutoMedSAM has them.

    Image and mask are looked for as ``.npy`` and then as ``.png``. The image is divided by 255 if it has values above
    1, and the mask is 1 wherever the file is above 0.
    """
    folder = data_dir / split / task
    image = np.array(Image.open(folder / "images" / f"{name}.png")).astype(np.float32)
    image = image / 255.0 if image.max() > 1.0 else image
    assert image.ndim == 2 and image.max() <= 1.0
    mask = (np.array(Image.open(folder / "masks" / f"{name}.png")) > 0).astype(np.float32)
    return torch.load(folder / "image_embeddings" / f"{name}.pt", weights_only=True), mask[np.newaxis]


@pytest.mark.parametrize("task", ["LV", "RV"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_each_task_has_the_slices_that_show_it(exports: Exports, split: str, task: str) -> None:
    folder = exports.make("automedsam")
    masks = {row["slice"]: exports.small.data / split / f"masks/{row['slice']}.png" for row in exports.rows}
    of_split = [row for row in exports.rows if row["split"] == split]
    published = {row["slice"]: np.asarray(Image.open(masks[row["slice"]])) == LABELS[task] for row in of_split}
    names = sample_names(folder, split, task)
    assert names == sorted(name for name, mask in published.items() if mask.any())
    for name in names:
        embedding, mask = read_sample(folder, split, task, name)
        assert embedding.shape == EMBEDDING_SHAPE
        np.testing.assert_array_equal(mask[0], published[name])


@pytest.mark.parametrize("layout", ["automedsam", "structures"])
def test_the_positional_encoding_is_where_it_is_looked_for(exports: Exports, layout: str) -> None:
    """``load_positional_encoding`` in dataset.py of vinhnamhai321/AutoMedSAM."""
    path = exports.make(layout) / "positional_encoding" / "pe.pt"
    assert torch.load(path, weights_only=True).shape == (1, *EMBEDDING_SHAPE)
    assert path.samefile(exports.small.data / "positional_encoding/pe.pt")


def test_the_myocardium_is_in_structures_alone(exports: Exports) -> None:
    tasks = {path.name for path in exports.make("automedsam").glob("*/*") if path.is_dir()}
    assert tasks == {"LV", "RV"}
    assert {path.name for path in exports.make("structures").glob("train/*")} == {*LABELS}


def test_no_positional_encoding_is_left_of_a_dataset_that_had_one(exports: Exports) -> None:
    exports.make("structures")
    exports.small.publish(embeddings=False)
    assert not list(exports.make("structures").rglob("*.pt"))
