"""Run an encoder: 8-bit gray images in, image embeddings out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acdc_medsam.encoders.layers import compute_in
from acdc_medsam.encoders.registry import PRECISIONS, EncoderSpec
from acdc_medsam.errors import AcdcError, ConfigError

SAM_MEAN = (123.675, 116.28, 103.53)
SAM_DEVIATION = (58.395, 57.12, 57.375)
"""Mean and standard deviation of red, green and blue, in 0..255, with which SAM was trained."""

LOW_PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def prepare_images(images: Tensor, spec: EncoderSpec) -> Tensor:
    """Convert gray images to the input of an encoder, of size S = ``spec.input_size``.

    Args:
        images: Gray values (B, H, W) uint8, 0..255.
        spec: The encoder.

    Returns:
        (B, 3, S, S) float32. For ``min_max``, three equal channels, each image stretched to [0, 1]; an image of a
        single gray value becomes 0. For ``sam``, channels normalized by SAM's mean and standard deviation.

    Raises:
        ValueError: ``images`` has another shape or type.
    """
    if images.ndim != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be (B, H, W) uint8, not {tuple(images.shape)} {images.dtype}")

    gray = resize(images.float(), spec.input_size)
    if spec.normalization == "sam":
        mean, deviation = (gray.new_tensor(rgb).view(3, 1, 1) for rgb in (SAM_MEAN, SAM_DEVIATION))
        return (gray.unsqueeze(1) - mean) / deviation

    # MedSAM's own preprocessing stretches the image after resizing it, too.
    gray = gray / 255
    low = gray.amin((1, 2), keepdim=True)
    high = gray.amax((1, 2), keepdim=True)
    return ((gray - low) / (high - low).clamp(min=1e-8)).unsqueeze(1).expand(-1, 3, -1, -1)


def resize(images: Tensor, size: int) -> Tensor:
    """Resize (B, H, W) float32 to (B, size, size).

    If each new pixel covers a whole number of pixels, it is their mean, as in LiteMedSAM (OpenCV's INTER_AREA);
    otherwise the interpolation is bilinear with antialiasing.
    """
    height, width = images.shape[1:]
    if (height, width) == (size, size):
        return images
    if height % size == 0 and width % size == 0:
        return F.avg_pool2d(images.unsqueeze(1), (height // size, width // size)).squeeze(1)
    return F.interpolate(images.unsqueeze(1), (size, size), mode="bilinear", antialias=True).squeeze(1)


@dataclass(frozen=True)
class Encoder:
    """Image encoder that is ready to encode.

    Attributes:
        module: Module that maps (B, 3, S, S) float32 to (B, 256, h, w), with its weights on ``device``.
        spec: Entry of the encoder in ENCODERS.
        precision: One of PRECISIONS.
        device: Device of the computation.
    """

    module: nn.Module
    spec: EncoderSpec
    precision: str
    device: torch.device

    def encode(self, images: Tensor) -> Tensor:
        """Encode gray images.

        Args:
            images: Gray values (B, H, W) uint8, 0..255, on any device.

        Returns:
            Embeddings (B, 256, 64, 64) float32, contiguous, on the encoder's device. On a CPU, the embedding of an
            image does not depend on the other images.

        Raises:
            ValueError: ``images`` has another shape or type.
        """
        # On a CPU, several images at a time are slower, and the rounding of a matrix product may depend on its size.
        groups = torch.split(images, 1 if self.device.type == "cpu" else len(images))
        with torch.inference_mode(), computing_in(self.precision, self.device):
            embeddings = [self.module(prepare_images(group.to(self.device), self.spec)).float() for group in groups]
            return torch.cat(embeddings).contiguous()


def make_encoder(model: nn.Module, spec: EncoderSpec, precision: str, device: torch.device) -> Encoder:
    """Move a model's image encoder to a device, and convert it to a precision. The model itself is changed.

    Args:
        model: Model from ``load_model``.
        spec: Entry of the encoder in ENCODERS.
        precision: ``float32``; ``tf32``, which differs from ``float32`` only on NVIDIA GPUs; ``bfloat16`` or
            ``float16``, used for linear layers and attention.
        device: Device of the computation.

    Raises:
        ConfigError: The precision is unknown.
        AcdcError: There is not enough memory for the weights.
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
    """Whether an error means that memory has run out."""
    # On a CPU, and from CUDA's libraries, it is a plain RuntimeError that only its message distinguishes.
    phrases = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(phrase in str(error) for phrase in phrases)


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """Set the rounding of float32 matrix products and convolutions on NVIDIA GPUs for a ``with`` block.

    Args:
        precision: ``float32`` keeps all bits, even in convolutions, which torch rounds to tf32 by default. Any other
            precision allows tf32 wherever the computation is still in float32.
        device: Device of the computation.
    """
    if device.type != "cuda":
        yield
        return

    precision_before = torch.get_float32_matmul_precision()
    allowed_before = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision_before)
        torch.backends.cudnn.allow_tf32 = allowed_before


def positional_encoding(model: nn.Module) -> Tensor:
    """Compute the positional encoding that the mask decoder needs: (1, 256, 64, 64) float32, on the CPU."""
    prompt_encoder = cast(Any, model.prompt_encoder)
    with torch.inference_mode():
        encoding: Tensor = prompt_encoder.get_dense_pe()
    return encoding.float().cpu().contiguous()
