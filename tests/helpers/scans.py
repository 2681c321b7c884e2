"""Scans to segment, models to segment them with, and what evaluation makes of the same volume."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch

from acdc_medsam.data.slices import ItemOptions, SliceDataset, positional_encoding
from acdc_medsam.encoders import load_model, make_encoder
from acdc_medsam.encoders.decoder import to_labels
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.evaluate.predict import without_prompts
from acdc_medsam.evaluate.slices import VolumeSlices
from acdc_medsam.evaluate.volumes import keep_largest_components, read_truth, stack_slices
from acdc_medsam.train.fit import save_model
from acdc_medsam.train.task import load_trainable

AFFINE = np.array([[-1.5, 0.1, 0, 10], [0.1, 1.5, 0.2, 20], [0, -0.2, 8, 30], [0, 0, 0, 1]])


def write_scan(path: Path, shape: tuple[int, ...], kind: Any = nib.Nifti1Image, endian: str = "<") -> Path:
    """Write a scan of random integers (X, Y, Z) or (X, Y, Z, T), 32.5 ms apart, with both affines and a name in it."""
    voxels = np.random.default_rng(sum(shape)).integers(0, 900, shape).astype(f"{endian}i2")
    header = kind.header_class(endianness=endian)
    image = kind(voxels, AFFINE, header)
    image.set_data_dtype(voxels.dtype)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 2)
    image.header.set_xyzt_units("mm", "msec")
    image.header.set_zooms([*image.header.get_zooms()[:3], *[32.5] * (len(shape) - 3)])
    image.header["descrip"] = b"Jane Doe"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def write_model(path: Path, checkpoint: Path) -> Path:
    """Write a model that finds all structures in any slice: its decoder has random biases, chosen for that."""
    model = load_trainable("lite_medsam", checkpoint)
    decoder: Any = model.mask_decoder
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for network in decoder.output_hypernetworks_mlps:
            noise = torch.randn(32, generator=generator)
            network.layers[-1].bias = torch.nn.Parameter(network.layers[-1].bias + 3 + 4 * (noise - noise.mean()))
    return save_model(model, path).path


def evaluate_volume(data: Path, split: str, volume: Path, model: Path, checkpoint: Path) -> npt.NDArray[np.uint8]:
    """Segment a published volume as the stage evaluate does without prompts."""
    encoder = make_encoder(
        load_model("lite_medsam", checkpoint), ENCODERS["lite_medsam"], "float32", torch.device("cpu")
    )
    predict = without_prompts(load_model("lite_medsam", model), positional_encoding(data))
    truth = read_truth(volume)
    items = VolumeSlices(SliceDataset(data, split, ItemOptions()), encoder.encode).items(truth)
    labels = {int(item["slice_index"]): to_labels(predict(item)).numpy() for item in items}
    return keep_largest_components(stack_slices(labels, truth.label.shape))
