"""Run an encoder: 8-bit gray images in, image embeddings out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acdc_medsam.encoders.registry import EncoderSpec
from acdc_medsam.errors import ConfigError

SAM_MEAN = (123.675, 116.28, 103.53)
SAM_DEVIATION = (58.395, 57.12, 57.375)
"""Mean and standard deviation of red, green and blue, in 0..255, that SAM was trained with."""

LOW_PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISIONS = ("float32", "tf32", *LOW_PRECISIONS)


def prepare_images(images: Tensor, spec: EncoderSpec) -> Tensor:
    """Turn gray images into an encoder's input of size S = ``spec.input_size``.

    Args:
        images: (B, H, W) uint8, 0..255.
        spec: the encoder.

    Returns:
        (B, 3, S, S) float32: for ``min_max`` three equal channels, each image stretched to [0, 1] (one of a single
        gray value is 0 everywhere); for ``sam`` by SAM's mean and standard deviation.

    Raises:
        ValueError: ``images`` has another shape or type.
    """
    if images.ndim != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be (B, H, W) uint8, not {tuple(images.shape)} {images.dtype}")
    gray = resize(images.float(), spec.input_size)
    if spec.normalization == "sam":
        mean, deviation = (gray.new_tensor(rgb).view(3, 1, 1) for rgb in (SAM_MEAN, SAM_DEVIATION))
        return (gray.unsqueeze(1) - mean) / deviation
    gray = gray / 255
    low, high = gray.amin((1, 2), keepdim=True), gray.amax((1, 2), keepdim=True)
    return ((gray - low) / (high - low).clamp(min=1e-8)).unsqueeze(1).expand(-1, 3, -1, -1)


def resize(images: Tensor, size: int) -> Tensor:
    """Resize (B, H, W) float32 to (B, size, size).

    The mean of the pixels that one pixel covers, where their number is whole, as LiteMedSAM does (OpenCV's
    INTER_AREA); else bilinear, without aliasing.
    """
    height, width = images.shape[1:]
    if (height, width) == (size, size):
        return images
    if height % size == 0 and width % size == 0:
        return F.avg_pool2d(images.unsqueeze(1), (height // size, width // size)).squeeze(1)
    return F.interpolate(images.unsqueeze(1), (size, size), mode="bilinear", antialias=True).squeeze(1)


def encode_images(model: nn.Module, images: Tensor, spec: EncoderSpec, precision: str = "float32") -> Tensor:
    """Encode gray images, on the device that the model is on.

    Args:
        model: from ``load_model``.
        images: (B, H, W) uint8, 0..255.
        spec: the model's entry in ENCODERS.
        precision: ``float32``; ``tf32`` or ``float16`` for a GPU; ``bfloat16``.

    Returns:
        (B, 256, 64, 64) float32, contiguous, on the model's device. On a CPU an image's embedding does not depend on
        the images beside it.

    Raises:
        ConfigError: there is no such precision.
        ValueError: ``images`` has another shape or type.
    """
    encoder = cast(nn.Module, model.image_encoder)
    device = next(encoder.parameters()).device
    # On a CPU several images at once are slower, and how a matrix product rounds may depend on its size.
    size = 1 if device.type == "cpu" else len(images)
    groups = [images[start : start + size] for start in range(0, len(images), size)]
    with torch.inference_mode(), computing_in(precision, device):
        return torch.cat([encoder(prepare_images(group.to(device), spec)).float() for group in groups]).contiguous()


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """Have matrix products and convolutions computed in ``precision`` on ``device`` within a ``with`` block.

    ``float32`` means all of its bits, also for convolutions, which torch otherwise rounds to tf32 on NVIDIA GPUs.
    On a CPU ``tf32`` is ``float32``.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"encoder.precision: {precision!r} is none of {', '.join(PRECISIONS)}")
    if precision in LOW_PRECISIONS:
        with torch.autocast(device.type, LOW_PRECISIONS[precision]):
            yield
        return
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def positional_encoding(model: nn.Module) -> Tensor:
    """Positional encoding of the embedding's grid, which the mask decoder needs: (1, 256, 64, 64) float32, CPU."""
    prompt_encoder = cast(Any, model.prompt_encoder)
    with torch.inference_mode():
        encoding: Tensor = prompt_encoder.get_dense_pe()
    return encoding.float().cpu().contiguous()
