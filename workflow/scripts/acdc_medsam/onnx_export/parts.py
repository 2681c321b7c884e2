"""The ONNX files of a model: what each contains, takes and returns."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acdc_medsam.acdc.labels import MASK_VALUES
from acdc_medsam.encoders.decoder import PROMPT_SIZE
from acdc_medsam.encoders.registry import EncoderSpec
from acdc_medsam.encoders.sam import EMBEDDING_CHANNELS, EMBEDDING_SIDE
from acdc_medsam.onnx_export.graphs import DecoderGraph, EncoderGraph, SegmentationGraph

ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
SEGMENTATION = "segmentation.onnx"
NAMES = (ENCODER, DECODER, SEGMENTATION)

EMBEDDING = "image_embeddings"
"""Output of the encoder and input of both decoders, under the name that segment_anything's own export gives it."""

AxisNames = Mapping[str, Mapping[int, str]]
"""Input or output -> axis -> name, for the axes whose length is not fixed."""


@dataclass(frozen=True)
class Part:
    """Part of a model that becomes one file.

    Attributes:
        name: Name of the file.
        graph: What it computes.
        inputs: Name -> example, in the order of the arguments.
        outputs: Names of the outputs, in their order.
        axes: Names of the axes that may have any length.
        facts: What users of the file need to know, for its metadata.
    """

    name: str
    graph: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    axes: AxisNames
    facts: Mapping[str, str]


def make_parts(model: nn.Module, spec: EncoderSpec, fine_tuned: bool) -> list[Part]:
    """Divide a model into the parts that are exported.

    Args:
        model: Model from ``load_model``.
        spec: Entry of its encoder in ENCODERS.
        fine_tuned: Whether the further masks of the decoder are those of the structures.

    Returns:
        Encoder and decoder, and for a fine-tuned model the segmentation without prompts.
    """
    random = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, PROMPT_SIZE, PROMPT_SIZE), generator=random, dtype=torch.uint8)
    embedding = torch.randn(1, EMBEDDING_CHANNELS, EMBEDDING_SIDE, EMBEDDING_SIDE, generator=random)

    parts = [_encoder(model, spec, image), _decoder(model, embedding, random)]
    return [*parts, _segmentation(model, embedding)] if fine_tuned else parts


def _encoder(model: nn.Module, spec: EncoderSpec, image: Tensor) -> Part:
    facts = {
        "image": f"gray values (batch, {PROMPT_SIZE}, {PROMPT_SIZE}) uint8, 0 to 255; nothing else is to be normalized"
    }
    axes = {name: {0: "batch"} for name in ("image", EMBEDDING)}
    return Part(ENCODER, EncoderGraph(model, spec).eval(), {"image": image}, (EMBEDDING,), axes, facts)


def _decoder(model: nn.Module, embedding: Tensor, random: torch.Generator) -> Part:
    inputs = {
        EMBEDDING: embedding,
        "point_coords": PROMPT_SIZE * torch.rand(1, 5, 2, generator=random),
        "point_labels": torch.tensor([[1.0, 0, 2, 3, -1]]),
        "mask_input": torch.randn(1, 1, 4 * EMBEDDING_SIDE, 4 * EMBEDDING_SIDE, generator=random),
        "has_mask_input": torch.ones(1),
        "orig_im_size": torch.tensor([PROMPT_SIZE, 0.75 * PROMPT_SIZE]),
    }
    axes = {"point_coords": {1: "points"}, "point_labels": {1: "points"}, "masks": {2: "height", 3: "width"}}
    facts = {
        "point_coords": f"x and y in pixels of an image whose longer side has {PROMPT_SIZE}",
        "masks": "logits, positive inside; the first mask answers the prompt",
    }
    outputs = ("masks", "iou_predictions", "low_res_masks")
    return Part(DECODER, DecoderGraph(model).eval(), inputs, outputs, axes, facts)


def _segmentation(model: nn.Module, embedding: Tensor) -> Part:
    axes = {name: {0: "batch"} for name in (EMBEDDING, "labels", "logits")}
    facts = {"labels": MASK_VALUES}
    return Part(
        SEGMENTATION, SegmentationGraph(model).eval(), {EMBEDDING: embedding}, ("labels", "logits"), axes, facts
    )
