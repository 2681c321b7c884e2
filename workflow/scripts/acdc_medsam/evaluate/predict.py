"""Predict the masks of all structures in a slice, in each of the ways that are compared."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.slices import SliceItem
from acdc_medsam.encoders.decoder import CLASS_TOKENS, PROMPT_SIZE, decode, encode_boxes, enlarge, no_prompts

Predict = Callable[[SliceItem], Tensor]
"""Function from a slice with boxes to logits (3, 1024, 1024) of RV, MYO and LV, which are positive inside."""


def without_prompts(model: nn.Module, encoding: Tensor) -> Predict:
    """Make a function that predicts all structures from the embedding alone.

    Args:
        model: A model with a fine-tuned decoder.
        encoding: The positional encoding (1, 256, 64, 64).
    """

    def predict(item: SliceItem) -> Tensor:
        logits = decode_structures(model, item["embedding"][None], encoding)[0]
        # A pixel belongs to one structure: all but the highest logit are made negative.
        return torch.where(logits == logits.amax(0), logits, logits.clamp(max=-1e-3))

    return predict


@torch.inference_mode()
def decode_structures(model: nn.Module, embeddings: Tensor, encoding: Tensor) -> Tensor:
    """Predict all structures from embeddings alone, which needs a fine-tuned decoder.

    Args:
        model: A model with a fine-tuned decoder.
        embeddings: The embeddings (B, 256, 64, 64).
        encoding: The positional encoding (1, 256, 64, 64).

    Returns:
        Logits (B, 3, 1024, 1024) of RV, MYO and LV.
    """
    prompts = no_prompts(cast(nn.Module, model.prompt_encoder), len(embeddings))
    logits = decode(cast(nn.Module, model.mask_decoder), embeddings, encoding, *prompts)
    # The first mask answers boxes, and there is none.
    return enlarge(logits[:, 1:], PROMPT_SIZE)


def with_boxes(model: nn.Module, encoding: Tensor, fine_tuned: bool) -> Predict:
    """Make a function that predicts each structure from the tight box of its true mask.

    A structure that is absent from the slice has no box and is not predicted. This way therefore knows more than the
    other one, which has to detect the structures.

    Args:
        model: The model.
        encoding: The positional encoding (1, 256, 64, 64).
        fine_tuned: Whether to read the structure's own mask of the decoder instead of SAM's answer to a box.
    """

    @torch.inference_mode()
    def predict(item: SliceItem) -> Tensor:
        # Any negative number stands for outside.
        logits = torch.full((len(LABELS), PROMPT_SIZE, PROMPT_SIZE), -1.0)
        shown = item["present"].nonzero()[:, 0]
        if not len(shown):
            return logits

        prompts = encode_boxes(cast(nn.Module, model.prompt_encoder), item["boxes"][shown])
        embeddings = item["embedding"].expand(len(shown), -1, -1, -1)
        decoded = decode(cast(nn.Module, model.mask_decoder), embeddings, encoding, *prompts)

        tokens = torch.tensor(list(CLASS_TOKENS.values()))[shown] if fine_tuned else torch.zeros_like(shown)
        logits[shown] = enlarge(decoded[torch.arange(len(shown)), tokens, None], PROMPT_SIZE)[:, 0]
        return logits

    return predict


def to_labels(logits: Tensor) -> Tensor:
    """Turn logits (..., 3, S, S) of RV, MYO and LV into labels (..., S, S) uint8.

    The structure with the highest logit wins; a pixel where none is positive is background.
    """
    values = torch.tensor(list(LABELS.values()), dtype=torch.uint8, device=logits.device)
    highest, index = logits.max(-3)
    return torch.where(highest > 0, values[index], torch.zeros_like(values[:1]))
