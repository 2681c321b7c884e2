"""Masks from image embeddings: segment_anything's prompt encoder and mask decoder, for many images at once."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acdc_medsam.acdc.labels import LABELS

PROMPT_SIZE = 1024
"""Boxes are in pixels of a picture of this side."""

CLASS_TOKENS = {structure: 1 + place for place, structure in enumerate(LABELS)}
"""Structure -> which of the decoder's masks is that of the structure, once it is fine-tuned.

SAM's decoder has four: the first answers where one is asked for, the others are those of ``multimask_output=True``.
"""


def encode_boxes(prompt_encoder: nn.Module, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Turn boxes (B, 4) in pixels of 1024 into the decoder's sparse (B, 2, 256) and dense (B, 256, 64, 64) prompts."""
    encoder = cast(Any, prompt_encoder)
    prompts: tuple[Tensor, Tensor] = encoder(
        points=None, boxes=boxes * (encoder.input_image_size[0] / PROMPT_SIZE), masks=None
    )
    return prompts


def no_prompts(prompt_encoder: nn.Module, count: int) -> tuple[Tensor, Tensor]:
    """The decoder's prompts where nothing is given: sparse (count, 0, 256) and dense (count, 256, 64, 64)."""
    sparse, dense = cast(Any, prompt_encoder)(points=None, boxes=None, masks=None)
    return sparse.expand(count, -1, -1), dense.expand(count, -1, -1, -1)


def decode(decoder: nn.Module, embeddings: Tensor, encoding: Tensor, sparse: Tensor, dense: Tensor) -> Tensor:
    """Decode images, each with prompts of its own.

    The same as ``MaskDecoder.predict_masks``, which takes one image with several sets of prompts.

    Args:
        decoder: SAM's mask decoder.
        embeddings: (B, 256, 64, 64).
        encoding: positional encoding (1, 256, 64, 64).
        sparse: (B, N, 256).
        dense: (B, 256, 64, 64).

    Returns:
        Logits (B, 4, 256, 256); above 0 is inside.
    """
    sam = cast(Any, decoder)
    outputs = torch.cat([sam.iou_token.weight, sam.mask_tokens.weight])
    tokens = torch.cat([outputs.expand(len(sparse), -1, -1), sparse], dim=1)
    found, image = sam.transformer(embeddings + dense, encoding.expand(len(sparse), -1, -1, -1), tokens)
    upscaled: Tensor = sam.output_upscaling(image.transpose(1, 2).reshape(embeddings.shape))
    networks = sam.output_hypernetworks_mlps
    weights = torch.stack([network(found[:, 1 + place]) for place, network in enumerate(networks)], dim=1)
    logits: Tensor = (weights @ upscaled.flatten(2)).view(len(weights), -1, *upscaled.shape[2:])
    return logits


@torch.inference_mode()
def decode_box(model: nn.Module, embedding: Tensor, encoding: Tensor, box: Tensor, mask: int, size: int) -> Tensor:
    """Decode one image with one box.

    Args:
        model: with ``prompt_encoder`` and ``mask_decoder``.
        embedding: (256, 64, 64).
        encoding: positional encoding (1, 256, 64, 64).
        box: (4,) in pixels of 1024.
        mask: which of the decoder's masks: 0 is what SAM answers to a box.
        size: side of the result.

    Returns:
        Logits (size, size); above 0 is inside.
    """
    prompts = encode_boxes(cast(nn.Module, model.prompt_encoder), box[None])
    logits = decode(cast(nn.Module, model.mask_decoder), embedding[None], encoding, *prompts)
    return enlarge(logits[:, mask, None], size)[0, 0]


def enlarge(logits: Tensor, size: int) -> Tensor:
    """Resize logits (B, C, h, w) to (B, C, size, size), as SAM does."""
    return F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)
