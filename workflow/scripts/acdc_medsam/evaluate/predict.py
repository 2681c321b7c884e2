"""Masks of all structures in a slice, in the ways that are compared."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.slices import SliceItem
from acdc_medsam.encoders.decoder import CLASS_TOKENS, PROMPT_SIZE, decode, encode_boxes, enlarge, no_prompts

Predict = Callable[[SliceItem], Tensor]
"""From an item of a ``SliceDataset`` with boxes to logits (3, 1024, 1024) of RV, MYO and LV; above 0 is inside."""


def without_prompts(model: nn.Module, encoding: Tensor) -> Predict:
    """Everything at once from the embedding alone, by a fine-tuned decoder."""

    @torch.inference_mode()
    def predict(item: SliceItem) -> Tensor:
        prompts = no_prompts(cast(nn.Module, model.prompt_encoder), 1)
        logits = decode(cast(nn.Module, model.mask_decoder), item["embedding"][None], encoding, *prompts)
        logits = enlarge(logits[:, 1:], PROMPT_SIZE)[0]
        # A pixel is of one structure: the others are put outside there.
        return torch.where(logits == logits.amax(0), logits, logits.clamp(max=-1e-3))

    return predict


def with_boxes(model: nn.Module, encoding: Tensor, fine_tuned: bool) -> Predict:
    """Each structure from the tight box of its true mask; by its own mask of the decoder, or by SAM's answer to a box.

    A structure that is not in the slice has no box and is not found, so this way knows more than a user has to give
    who lets it find structures.
    """

    @torch.inference_mode()
    def predict(item: SliceItem) -> Tensor:
        found = torch.full((len(LABELS), PROMPT_SIZE, PROMPT_SIZE), -1.0)
        shown = item["present"].nonzero()[:, 0]
        if len(shown):
            prompts = encode_boxes(cast(nn.Module, model.prompt_encoder), item["boxes"][shown])
            embeddings = item["embedding"].expand(len(shown), -1, -1, -1)
            logits = decode(cast(nn.Module, model.mask_decoder), embeddings, encoding, *prompts)
            tokens = torch.tensor(list(CLASS_TOKENS.values()))[shown] if fine_tuned else torch.zeros_like(shown)
            found[shown] = enlarge(logits[torch.arange(len(shown)), tokens, None], PROMPT_SIZE)[:, 0]
        return found

    return predict


def to_labels(logits: Tensor) -> Tensor:
    """Logits (3, S, S) of RV, MYO, LV -> labels (S, S) uint8: the structure with the highest, background below 0."""
    values = torch.tensor(list(LABELS.values()), dtype=torch.uint8)
    highest, place = logits.max(0)
    return torch.where(highest > 0, values[place], torch.zeros_like(values[:1]))
