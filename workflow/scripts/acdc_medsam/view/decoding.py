"""Answer a click, a box, or no prompt at all: decode a stored embedding, and compare the mask with the reference."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.slices import positional_encoding
from acdc_medsam.encoders import load_model
from acdc_medsam.encoders.decoder import (
    CLASS_TOKENS,
    PROMPT_SIZE,
    decode,
    encode_boxes,
    encode_points,
    enlarge,
    no_prompts,
    to_labels,
)
from acdc_medsam.errors import CheckpointError, DatasetError
from acdc_medsam.formats.png import Gray
from acdc_medsam.train.weights import find_checkpoint, identify_encoder

MAX_POINTS = 64
"""Number of points that a prompt may have."""

UNKNOWN = max(LABELS.values()) + 1
"""Value of a mask that overlaps no structure."""


@dataclass(frozen=True)
class Prompt:
    """What the decoder is asked. Coordinates are in pixels of an image of PROMPT_SIZE; without any, it has no prompt.

    Attributes:
        points: x and y of each point.
        inside: For each point, whether it is inside the mask that is wanted.
        box: x0, y0, x1 and y1, or None.
        structure: RV, MYO or LV; None for all that a fine-tuned decoder finds, or for the one that fits best.
    """

    points: Sequence[Sequence[float]] = ()
    inside: Sequence[bool] = ()
    box: Sequence[float] | None = None
    structure: str | None = None


def parse_prompt(data: bytes) -> Prompt:
    """Parse a prompt in JSON, whose keys are the attributes of :class:`Prompt`.

    Raises:
        ValueError: It is no such prompt.
    """
    try:
        prompt = Prompt(**json.loads(data))
        points = [_coordinates(point, 2) for point in prompt.points]
        box = None if prompt.box is None else _coordinates(prompt.box, 4)
        known = prompt.structure is None or prompt.structure in LABELS
        flags = all(isinstance(flag, bool) for flag in prompt.inside) and len(prompt.inside) == len(points)
    # Another type than is expected, a key too many, or brackets without end.
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError("this is no prompt") from error
    if not (known and flags) or len(points) > MAX_POINTS:
        raise ValueError(f"a prompt has one of {', '.join(LABELS)}, and at most {MAX_POINTS} points inside or outside")
    return Prompt(points, prompt.inside, box, prompt.structure)


def _coordinates(values: Any, count: int) -> list[float]:
    numbers = [float(value) for value in values]
    # A comparison with NaN is false.
    if len(numbers) != count or not all(0 <= number <= PROMPT_SIZE for number in numbers):
        raise ValueError(f"{count} coordinates from 0 to {PROMPT_SIZE} are expected")
    return numbers


@dataclass(frozen=True)
class Decoder:
    """A model that decodes the embeddings of a dataset.

    Attributes:
        name: Name of the encoder that the model belongs to.
        model: Model with ``prompt_encoder`` and ``mask_decoder``.
        encoding: Positional encoding (1, 256, 64, 64).
        fine_tuned: Whether it has a mask for each structure, instead of one for whatever is asked.
    """

    name: str
    model: nn.Module
    encoding: Tensor
    fine_tuned: bool

    @torch.inference_mode()
    def predict(self, embedding: Tensor, prompt: Prompt, size: int) -> Tensor:
        """Decode one embedding.

        Args:
            embedding: Image embedding (256, 64, 64).
            prompt: What is asked.
            size: Height and width of the result.

        Returns:
            Logits, which are positive inside: (3, size, size) of all structures from a fine-tuned decoder if none is
            asked for; otherwise (1, size, size).
        """
        sparse, dense = self._encode(prompt)
        decoder = cast(nn.Module, self.model.mask_decoder)
        logits = decode(decoder, embedding[None], self.encoding, sparse, dense)
        if not self.fine_tuned:
            wanted = [0]  # SAM's mask for a prompt
        elif prompt.structure is None:
            wanted = list(CLASS_TOKENS.values())
        else:
            wanted = [CLASS_TOKENS[prompt.structure]]
        return enlarge(logits[:, wanted], size)[0]

    def _encode(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        encoder = cast(nn.Module, self.model.prompt_encoder)
        boxes = None if prompt.box is None else _sort_corners(torch.tensor([prompt.box]))
        if prompt.points:
            labels = torch.tensor([prompt.inside], dtype=torch.float32)
            return encode_points(encoder, torch.tensor([prompt.points]), labels, boxes)
        return no_prompts(encoder, 1) if boxes is None else encode_boxes(encoder, boxes)


def _sort_corners(boxes: Tensor) -> Tensor:
    """Return boxes (B, 4) between any two opposite corners as x0, y0, x1, y1."""
    first, second = boxes[:, :2], boxes[:, 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], dim=1)


@dataclass(frozen=True)
class Answer:
    """The answer of a decoder.

    Attributes:
        label: Labels (S, S) uint8 as in the masks; UNKNOWN for a mask that overlaps no structure.
        dice: Dice with the reference, for each structure that is compared; None if neither mask nor reference shows it.
    """

    label: Gray
    dice: dict[str, float | None]


def answer(decoder: Decoder, embedding: Tensor, truth: Gray, prompt: Prompt) -> Answer:
    """Decode one embedding, and compare the masks with the reference.

    The mask of a released model belongs to no structure. It is compared with the one that is asked for, or with the
    one that it fits best.

    Args:
        decoder: The decoder.
        embedding: Image embedding (256, 64, 64).
        truth: Labels (S, S) uint8 of the reference.
        prompt: What is asked.
    """
    logits = decoder.predict(embedding, prompt, len(truth))
    if len(logits) > 1:
        label: Gray = to_labels(logits).numpy()
        return Answer(label, {key: dice(label == value, truth == value) for key, value in LABELS.items()})

    mask = (logits[0] > 0).numpy()
    compared = {key: dice(mask, truth == value) for key, value in LABELS.items() if prompt.structure in (None, key)}
    best = max(compared, key=lambda key: compared[key] or 0.0)
    value = LABELS[best] if compared[best] or prompt.structure else UNKNOWN
    return Answer(np.where(mask, value, 0).astype(np.uint8), {best: compared[best]})


def dice(predicted: np.ndarray[Any, np.dtype[np.bool_]], truth: np.ndarray[Any, np.dtype[np.bool_]]) -> float | None:
    """Compute the Dice coefficient of two masks of the same shape; None if both are empty."""
    pixels = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / pixels if pixels else None


def find_decoder(data: Path, checkpoint: Path | None, model: Path | None, candidates: Sequence[Path]) -> Decoder | str:
    """Load the model that decodes a dataset's embeddings.

    Args:
        data: The folder of the dataset.
        checkpoint: The released weights that made the embeddings; None to search for them.
        model: Fine-tuned weights; None for the released ones.
        candidates: Checkpoints to search.

    Returns:
        The decoder; or, if no weights were named and none were found, the reason in words.

    Raises:
        CheckpointError, DatasetError: Weights were named and cannot be used.
    """
    try:
        released = checkpoint or find_checkpoint(data, candidates)
        name, _ = identify_encoder(data, released)
        return Decoder(name, load_model(name, model or released), positional_encoding(data), model is not None)
    except (CheckpointError, DatasetError) as error:
        if checkpoint or model:
            raise
        return str(error)
