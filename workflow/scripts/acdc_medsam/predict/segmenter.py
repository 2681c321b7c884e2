"""A trained model that is ready to segment images."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from acdc_medsam.encoders import Encoder, load_model, make_encoder
from acdc_medsam.encoders.decoder import decode_structures, to_labels
from acdc_medsam.encoders.model import computing_in, positional_encoding
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.train.model import ModelFacts


@dataclass(frozen=True)
class Segmenter:
    """A model that is ready to segment images.

    Attributes:
        model: The model, its prompt encoder and mask decoder on the encoder's device.
        encoder: Its image encoder.
        encoding: Positional encoding (1, 256, 64, 64), on the encoder's device.
    """

    model: nn.Module
    encoder: Encoder
    encoding: Tensor

    @torch.inference_mode()
    def label(self, images: Tensor) -> Tensor:
        """Segment images without prompts.

        Args:
            images: Gray values (B, S, S) uint8.

        Returns:
            Labels (B, 1024, 1024) uint8 in {0, 1, 2, 3}, on the encoder's device.
        """
        embeddings = self.encoder.encode(images)
        with computing_in("float32", self.encoder.device):
            return to_labels(decode_structures(self.model, embeddings, self.encoding))


def load_segmenter(facts: ModelFacts, device: torch.device) -> Segmenter:
    """Load a model.

    Args:
        facts: What is known of it.
        device: Device of the computation.

    Raises:
        CheckpointError: The file cannot be read or does not fit its encoder.
    """
    model = load_model(facts.encoder, facts.path)
    encoding = positional_encoding(model).to(device)
    encoder = make_encoder(model, ENCODERS[facts.encoder], facts.precision, device)
    for part in (model.prompt_encoder, model.mask_decoder):
        cast(nn.Module, part).to(device)
    return Segmenter(model, encoder, encoding)
