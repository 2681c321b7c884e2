"""Parts of segment_anything that are used unchanged: prompt encoder, mask decoder and a few layers.

Source: A. Kirillov et al., "Segment Anything", ICCV 2023.
"""

import importlib
import importlib.util
import sys
from types import ModuleType

import torch
from torch import nn


def import_part(part: str) -> ModuleType:
    """Import a module of segment_anything without running the package's ``__init__``.

    ``__init__`` imports torchvision, which is not needed here and works with a single release of torch only.
    """
    name = "segment_anything"
    absent = name not in sys.modules
    if absent:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError("segment_anything is missing: pip install segment-anything", name=name)
        sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(f"{name}.{part}")
    finally:
        if absent:
            # A later import of the package must get the real one.
            del sys.modules[name]


modeling = import_part("modeling")
LayerNorm2d = modeling.image_encoder.LayerNorm2d
window_partition = modeling.image_encoder.window_partition
window_unpartition = modeling.image_encoder.window_unpartition

EMBEDDING_CHANNELS = 256
EMBEDDING_SIDE = 64


class PromptedModel(nn.Module):
    """Image encoder with SAM's prompt encoder and mask decoder. The names of its weights are SAM's."""

    def __init__(self, image_encoder: nn.Module, image_size: int) -> None:
        """Combine the parts.

        Args:
            image_encoder: Module that maps (B, 3, S, S) to (B, 256, 64, 64).
            image_size: Height and width S of the input in pixels.
        """
        super().__init__()
        self.image_encoder = image_encoder
        # These parts are small. Initializing them on the meta device would import torch's compiler, which takes 2 s.
        with torch.device("cpu"):
            self.prompt_encoder = modeling.PromptEncoder(
                embed_dim=EMBEDDING_CHANNELS,
                image_embedding_size=(EMBEDDING_SIDE, EMBEDDING_SIDE),
                input_image_size=(image_size, image_size),
                mask_in_chans=16,
            )
            self.mask_decoder = modeling.MaskDecoder(
                transformer=modeling.TwoWayTransformer(
                    depth=2, embedding_dim=EMBEDDING_CHANNELS, num_heads=8, mlp_dim=2048
                ),
                transformer_dim=EMBEDDING_CHANNELS,
                num_multimask_outputs=3,
                iou_head_depth=3,
                iou_head_hidden_dim=256,
            )
