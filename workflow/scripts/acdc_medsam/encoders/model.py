"""Run an encoder: 8-bit gray images in, image embeddings out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acdc_medsam.encoders.layers import compute_in
from acdc_medsam.encoders.registry import EncoderSpec
from acdc_medsam.errors import AcdcError, ConfigError

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


@dataclass(frozen=True)
class Encoder:
    """An image encoder, ready to encode.

    Attributes:
        module: (B, 3, S, S) float32 -> (B, 256, h, w), its weights on ``device``.
        spec: its entry in ENCODERS.
        precision: one of PRECISIONS.
        device: where it computes.
    """

    module: nn.Module
    spec: EncoderSpec
    precision: str
    device: torch.device

    def encode(self, images: Tensor) -> Tensor:
        """Encode gray images.

        Args:
            images: (B, H, W) uint8, 0..255, on any device.

        Returns:
            (B, 256, 64, 64) float32, contiguous, on the encoder's device. On a CPU an image's embedding does not
            depend on the images beside it.

        Raises:
            ValueError: ``images`` has another shape or type.
        """
        # On a CPU several images at once are slower, and how a matrix product rounds may depend on its size.
        groups = torch.split(images, 1 if self.device.type == "cpu" else len(images))
        with torch.inference_mode(), computing_in(self.precision, self.device):
            embeddings = [self.module(prepare_images(group.to(self.device), self.spec)).float() for group in groups]
            return torch.cat(embeddings).contiguous()


def make_encoder(model: nn.Module, spec: EncoderSpec, precision: str, device: torch.device) -> Encoder:
    """Take a model's image encoder, put it on a device, and turn it to a precision; the model itself is changed.

    Args:
        model: from ``load_model``.
        spec: the model's entry in ENCODERS.
        precision: ``float32``; ``tf32``, which is ``float32`` but on NVIDIA GPUs; ``bfloat16`` or ``float16``, for
            linear layers and attention.
        device: where to compute.

    Raises:
        ConfigError: there is no such precision.
        AcdcError: there is not enough memory for the weights.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"encoder.precision: {precision!r} is none of {', '.join(PRECISIONS)}")
    module = cast(nn.Module, model.image_encoder)
    try:
        if precision in LOW_PRECISIONS:
            compute_in(module, LOW_PRECISIONS[precision])
        return Encoder(module.to(device), spec, precision, device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise AcdcError(
            f"there is not enough memory on {device} for the weights of {spec.name}: "
            "stop other programs, or choose a smaller encoder or another encoder.device"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short: torch says so by errors of many kinds, on a CPU and in what CUDA's libraries raise."""
    words = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(said in str(error) for said in words)


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """Have float32 matrix products and convolutions on NVIDIA GPUs rounded as ``precision`` says, in a ``with`` block.

    ``float32`` means all of its bits, also for convolutions, which torch otherwise rounds to tf32. Any lower
    precision allows tf32 for what is left in float32.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
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
