"""Predict the masks of all structures in a slice, in each of the ways that are compared."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.slices import SliceItem
from acdc_medsam.encoders.decoder import CLASS_TOKENS, PROMPT_SIZE, decode, decode_structures, encode_boxes, enlarge

Predict = Callable[[SliceItem], Tensor]
"""Function from a slice with boxes to logits (3, 1024, 1024) of RV, MYO and LV, which are positive inside."""


def without_prompts(model: nn.Module, encoding: Tensor) -> Predict:
    """Make a function that predicts all structures from the embedding alone.

    Args:
        model: A model with a fine-tuned decoder.
        encoding: The positional encoding (1, 256, 64, 64).
    """

    @torch.inference_mode()
    def predict(item: SliceItem) -> Tensor:
        logits = decode_structures(model, item["embedding"][None], encoding)[0]
        # A pixel belongs to one structure: all but the highest logit are made negative.
        return torch.where(logits == logits.amax(0), logits, logits.clamp(max=-1e-3))

    return predict


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
