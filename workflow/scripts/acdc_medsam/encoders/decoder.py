"""Decode masks from embeddings with segment_anything's prompt encoder and mask decoder, for many images at once."""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acdc_medsam.acdc.labels import LABELS

PROMPT_SIZE = 1024
"""Height and width, in pixels, of the image to which the coordinates of boxes refer."""

CLASS_TOKENS = {structure: index for index, structure in enumerate(LABELS, start=1)}
"""Structure -> index of the mask that a fine-tuned decoder predicts for it.

SAM's decoder predicts four masks: the first one is for ``multimask_output=False``, the others for ``True``.
"""


def encode_boxes(prompt_encoder: nn.Module, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Encode boxes (B, 4), for images of PROMPT_SIZE, as sparse (B, 2, 256) and dense (B, 256, 64, 64) prompts."""
    encoder = cast(Any, prompt_encoder)
    scale = encoder.input_image_size[0] / PROMPT_SIZE
    prompts: tuple[Tensor, Tensor] = encoder(points=None, boxes=boxes * scale, masks=None)
    return prompts


def encode_points(
    prompt_encoder: nn.Module, points: Tensor, labels: Tensor, boxes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Encode points, alone or together with boxes, for images of PROMPT_SIZE.

    Args:
        prompt_encoder: SAM's prompt encoder.
        points: Points (B, N, 2) as x, y; N at least 1.
        labels: Labels (B, N) of the points: 1 inside the mask, 0 outside of it.
        boxes: Boxes (B, 4), or None.

    Returns:
        Sparse (B, N + 1, 256) prompts, (B, N + 2, 256) with boxes; and dense prompts (B, 256, 64, 64).
    """
    encoder = cast(Any, prompt_encoder)
    scale = encoder.input_image_size[0] / PROMPT_SIZE
    scaled = None if boxes is None else boxes * scale
    prompts: tuple[Tensor, Tensor] = encoder(points=(points * scale, labels), boxes=scaled, masks=None)
    return prompts


def no_prompts(prompt_encoder: nn.Module, count: int) -> tuple[Tensor, Tensor]:
    """Return the prompts of images without any: sparse (count, 0, 256) and dense (count, 256, 64, 64)."""
    sparse, dense = cast(Any, prompt_encoder)(points=None, boxes=None, masks=None)
    return sparse.expand(count, -1, -1), dense.expand(count, -1, -1, -1)


def decode(decoder: nn.Module, embeddings: Tensor, encoding: Tensor, sparse: Tensor, dense: Tensor) -> Tensor:
    """Decode several images with one set of prompts each.

    The computation is that of ``MaskDecoder.predict_masks``, which decodes one image with several sets of prompts.

    Args:
        decoder: SAM's mask decoder.
        embeddings: Image embeddings (B, 256, 64, 64).
        encoding: Positional encoding (1, 256, 64, 64).
        sparse: Sparse prompts (B, N, 256).
        dense: Dense prompts (B, 256, 64, 64).

    Returns:
        Logits (B, 4, 256, 256), which are positive inside the mask.
    """
    sam = cast(Any, decoder)
    outputs = torch.cat([sam.iou_token.weight, sam.mask_tokens.weight])
    tokens = torch.cat([outputs.expand(sparse.shape[0], -1, -1), sparse], dim=1)  # (B, 5 + N, 256)
    decoded, image = sam.transformer(embeddings + dense, encoding.expand(sparse.shape[0], -1, -1, -1), tokens)

    networks = sam.output_hypernetworks_mlps
    # The first token predicts the quality of the masks; one token for each mask follows.
    weights = torch.stack([network(decoded[:, index]) for index, network in enumerate(networks, start=1)], dim=1)
    return upscale_masks(sam.output_upscaling, image, weights)


def upscale_masks(upscaling: nn.Module, image: Tensor, weights: Tensor) -> Tensor:
    """Upscale decoded images fourfold and weight their channels for each mask.

    The strides of SAM's transposed convolutions are their kernels' size, so they are matrix products. Pixels stay in
    the order of the tokens until only the masks are left to be rearranged. This saves a fifth of a training's time.

    Args:
        upscaling: The decoder's ``output_upscaling``.
        image: Tokens (B, S * S, 256) of decoded images, row by row; S is 64.
        weights: Weights (B, M, 32) of the channels for each of M masks.

    Returns:
        Logits (B, M, 4 * S, 4 * S).
    """
    first, norm, activation, second, last_activation = cast(Any, upscaling)
    pixels = _double(first, image)
    pixels = F.layer_norm(pixels, pixels.shape[-1:], norm.weight, norm.bias, norm.eps)
    pixels = last_activation(_double(second, activation(pixels)))  # (B, S * S, 2 * 2, 2 * 2, 32)

    logits: Tensor = pixels.flatten(1, 3) @ weights.transpose(1, 2)  # (B, 16 * S * S, M)
    side = math.isqrt(image.shape[1])
    # Axes: image, row, column, then row and column inside a token, row and column inside its quarter, mask.
    blocks = logits.view(image.shape[0], side, side, 2, 2, 2, 2, -1)
    return blocks.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(image.shape[0], -1, 4 * side, 4 * side)


def _double(convolution: nn.ConvTranspose2d, pixels: Tensor) -> Tensor:
    """Apply a transposed convolution of kernel and stride 2 to pixels (..., C): four pixels (..., 4, D) for each."""
    channels = convolution.out_channels
    matrix = convolution.weight.permute(2, 3, 1, 0).reshape(4 * channels, -1)
    bias = cast(Tensor, convolution.bias).repeat(4)
    return F.linear(pixels, matrix, bias).view(*pixels.shape[:-1], 4, channels)


@torch.inference_mode()
def decode_box(model: nn.Module, embedding: Tensor, encoding: Tensor, box: Tensor, mask: int, size: int) -> Tensor:
    """Decode one image with one box.

    Args:
        model: Model with ``prompt_encoder`` and ``mask_decoder``.
        embedding: Image embedding (256, 64, 64).
        encoding: Positional encoding (1, 256, 64, 64).
        box: Box (4,) in pixels of an image of PROMPT_SIZE.
        mask: Index of the mask; 0 is the one that SAM predicts for a box.
        size: Height and width of the result.

    Returns:
        Logits (size, size), which are positive inside the mask.
    """
    prompts = encode_boxes(cast(nn.Module, model.prompt_encoder), box[None])
    logits = decode(cast(nn.Module, model.mask_decoder), embedding[None], encoding, *prompts)
    return enlarge(logits[:, mask, None], size)[0, 0]


def decode_structures(model: nn.Module, embeddings: Tensor, encoding: Tensor) -> Tensor:
    """Predict all structures from embeddings alone, which needs a fine-tuned decoder.

    Args:
        model: A model with a fine-tuned decoder.
        embeddings: The embeddings (B, 256, 64, 64).
        encoding: The positional encoding (1, 256, 64, 64).

    Returns:
        Logits (B, 3, 1024, 1024) of RV, MYO and LV.
    """
    # len() would be recorded as a number when the computation is exported.
    prompts = no_prompts(cast(nn.Module, model.prompt_encoder), embeddings.shape[0])
    logits = decode(cast(nn.Module, model.mask_decoder), embeddings, encoding, *prompts)
    # The first mask answers boxes, and there is none.
    return enlarge(logits[:, 1:], PROMPT_SIZE)


def to_labels(logits: Tensor) -> Tensor:
    """Turn logits (..., 3, S, S) of RV, MYO and LV into labels (..., S, S) uint8.

    The structure with the highest logit wins; a pixel where none is positive is background.
    """
    values = torch.tensor(list(LABELS.values()), dtype=torch.uint8, device=logits.device)
    highest, index = logits.max(-3)
    return torch.where(highest > 0, values[index], torch.zeros_like(values[:1]))


def enlarge(logits: Tensor, size: int) -> Tensor:
    """Resize logits (B, C, h, w) to (B, C, size, size) by bilinear interpolation, as SAM does."""
    return F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)
