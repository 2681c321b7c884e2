"""Parts of a model in the form in which they are exported, with preparation and postprocessing inside."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acdc_medsam.encoders.decoder import PROMPT_SIZE, decode_structures, enlarge, to_labels
from acdc_medsam.encoders.model import positional_encoding, prepare_images
from acdc_medsam.encoders.registry import EncoderSpec


class EncoderGraph(nn.Module):
    """The image encoder with its preparation of images, so that no caller can normalize in another way."""

    def __init__(self, model: nn.Module, spec: EncoderSpec) -> None:
        super().__init__()
        self.encoder = cast(nn.Module, model.image_encoder)
        self.spec = spec

    def forward(self, image: Tensor) -> Tensor:
        """Encode gray images (B, 1024, 1024) uint8 as (B, 256, 64, 64) float32."""
        embeddings: Tensor = self.encoder(prepare_images(image, self.spec))
        return embeddings


class DecoderGraph(nn.Module):
    """Prompt encoder and mask decoder with the inputs and outputs of segment_anything's ``SamOnnxModel``.

    Unlike in the release 1.0 of that class, the shape of the image is not recorded with the graph. Coordinates refer
    to an image of 1024 pixels for every encoder, because the tools that use such decoders scale to that.

    Source: ``segment_anything/utils/onnx.py``, https://github.com/facebookresearch/segment-anything.
    """

    encoding: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.prompt_encoder = cast(Any, model.prompt_encoder)
        self.mask_decoder = cast(Any, model.mask_decoder)
        self.register_buffer("encoding", positional_encoding(model))

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict the masks for one image and one set of prompts.

        Args:
            image_embeddings: Embedding (1, 256, 64, 64) float32.
            point_coords: Points (1, N, 2) float32 as x and y, in pixels of an image whose longer side is 1024.
            point_labels: Kind of each point (1, N) float32: 1 inside, 0 outside, 2 and 3 the corners of a box, -1 none.
            mask_input: Logits (1, 1, 256, 256) float32 of an earlier answer.
            has_mask_input: (1,) float32, 1 to use ``mask_input`` and 0 to ignore it.
            orig_im_size: Height and width (2,) float32 of the masks.

        Returns:
            Logits (1, 4, height, width), which are positive inside; predicted quality (1, 4); and logits
            (1, 4, 256, 256).
        """
        sparse = self.embed_points(point_coords, point_labels)
        dense = self.embed_mask(mask_input, has_mask_input)
        low, quality = self.mask_decoder.predict_masks(image_embeddings, self.encoding, sparse, dense)
        return enlarge_to(enlarge(low, PROMPT_SIZE), orig_im_size), quality, low

    def embed_points(self, coordinates: Tensor, labels: Tensor) -> Tensor:
        """Encode points (1, N, 2) with labels (1, N) as (1, N, 256), without branches that depend on the labels."""
        encoder = self.prompt_encoder
        size = encoder.input_image_size[0]
        # Half a pixel leads to the pixel's center.
        scaled = (coordinates * (size / PROMPT_SIZE) + 0.5) / size
        kind = labels.unsqueeze(-1)

        points: Tensor = encoder.pe_layer._pe_encoding(scaled) * (kind != -1)
        points = points + encoder.not_a_point_embed.weight * (kind == -1)
        for index, embedding in enumerate(encoder.point_embeddings):
            points = points + embedding.weight * (kind == index)
        return points

    def embed_mask(self, mask: Tensor, is_given: Tensor) -> Tensor:
        """Encode a mask (1, 1, 256, 256), or that there is none, as (1, 256, 64, 64)."""
        none = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        encoded: Tensor = is_given * self.prompt_encoder.mask_downscaling(mask) + (1 - is_given) * none
        return encoded


def enlarge_to(logits: Tensor, size: Tensor) -> Tensor:
    """Remove the padding of an image that is not square, and resize its logits.

    Args:
        logits: (B, C, S, S) for the image whose longer side has S pixels, with padding on the right or below.
        size: Height and width (2,) of the result.

    Returns:
        Logits (B, C, height, width).
    """
    longest = logits.shape[-1]
    inside = torch.floor(size * (longest / size.max()) + 0.5).long()
    rows, columns = (cast(int, inside[axis].item()) for axis in (0, 1))
    height, width = (cast(int, size[axis].long().item()) for axis in (0, 1))
    return F.interpolate(logits[..., :rows, :columns], (height, width), mode="bilinear", align_corners=False)


class SegmentationGraph(nn.Module):
    """The prompt-free masks of a fine-tuned decoder: the right ventricle, the myocardium and the left ventricle."""

    encoding: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.prompt_encoder = model.prompt_encoder
        self.model.mask_decoder = model.mask_decoder
        self.register_buffer("encoding", positional_encoding(model))

    def forward(self, image_embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Segment images of which only the embeddings (B, 256, 64, 64) are needed.

        Returns:
            Labels (B, 1024, 1024) uint8, and logits (B, 3, 1024, 1024) float32 in the order of the labels 1, 2, 3.
        """
        logits = decode_structures(self.model, image_embeddings, self.encoding)
        return to_labels(logits), logits
