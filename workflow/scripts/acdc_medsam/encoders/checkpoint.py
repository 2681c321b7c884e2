"""Read a checkpoint file and put its weights into a model, or say in plain words why that cannot be done."""

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acdc_medsam.encoders.checkpoint_file import call_reader, checked_sha256, require_file
from acdc_medsam.encoders.registry import ENCODERS, EncoderSpec
from acdc_medsam.encoders.tiny_vit import build_lite_medsam
from acdc_medsam.encoders.vit import build_sam
from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.tensors import CompressedError, load_saved

ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "medsam_vit_b": partial(build_sam, "vit_b"),
    "sam_vit_b": partial(build_sam, "vit_b"),
    "sam_vit_l": partial(build_sam, "vit_l"),
    "sam_vit_h": partial(build_sam, "vit_h"),
    "lite_medsam": build_lite_medsam,
}
"""Encoder -> what builds its model on the meta device."""


def load_model(name: str, checkpoint: Path, sha256: str | None = None) -> nn.Module:
    """Load a model for inference: in eval mode, on the CPU, its weights without gradients.

    Args:
        name: an encoder's name.
        checkpoint: the weights, as ``torch.save`` wrote a state_dict, alone or under ``model`` or ``state_dict``.
        sha256: what the file's sha256 must be, in hex; None to take any.

    Returns:
        A model with ``image_encoder``, (B, 3, S, S) -> (B, 256, 64, 64), ``prompt_encoder`` and ``mask_decoder``.

    Raises:
        KeyError: ``name`` is none of ENCODERS.
        CheckpointError: the file is missing, is not the one that ``sha256`` names, cannot be read, holds anything but
            weights, or the weights are not exactly those of this encoder.
    """
    spec = ENCODERS[name]
    require_file(checkpoint, spec)
    if sha256 is not None:
        checked_sha256(checkpoint, spec, sha256)
    weights = read_weights(checkpoint, spec)
    model = ARCHITECTURES[name]()
    check_fit(model, weights, checkpoint, spec)
    # Converted only now: a tensor that claims more than its file holds has been refused by its shape.
    model.load_state_dict({key: _as_float32(value) for key, value in weights.items()}, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def read_weights(checkpoint: Path, spec: EncoderSpec) -> dict[str, Tensor]:
    """Read the state_dict of a checkpoint as name -> tensor, of the types in the file and mapped from it.

    Nothing in the file is run: only tensors and plain containers are accepted.
    """
    content = _load(checkpoint, spec)
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{checkpoint} holds no state_dict but {type(content).__name__}; save the model's state_dict() alone, "
            f"or use the published weights of {spec.name} ({spec.published_at})"
        )
    strange = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(
            f"{checkpoint} holds other things than weights: {_some(strange)}; save the model's state_dict() alone"
        )
    return {str(key): value for key, value in content.items()}


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def check_fit(model: nn.Module, weights: Mapping[str, Tensor], checkpoint: Path, spec: EncoderSpec) -> None:
    """Refuse weights whose names and shapes are not exactly the model's."""
    problems = misfits(model, weights)
    if not problems:
        return
    fitting = [name for name, build in ARCHITECTURES.items() if not misfits(build(), weights)]
    if fitting:
        advice = f"the file fits {' and '.join(fitting)}: is encoder.name meant to be that?"
    else:
        advice = f"it fits no other encoder either; the weights of {spec.name} are at {spec.published_at}"
    raise CheckpointError(f"{checkpoint} does not fit {spec.name}: {'; '.join(problems)}; {advice}")


def misfits(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Say what keeps ``weights`` from being the model's; nothing where they are."""
    expected = model.state_dict()
    shapes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights and _kind(weights[key]) != _kind(value)
    ]
    found = {
        "missing": [key for key in expected if key not in weights],
        "not expected": [key for key in weights if key not in expected],
        "of another shape or type": shapes,
    }
    return [f"{len(items)} weights {what}: {_some(items)}" for what, items in found.items() if items]


def _load(checkpoint: Path, spec: EncoderSpec) -> Any:
    zipped = call_reader(checkpoint, _starts_as_zip)
    whole = zipfile.is_zipfile(checkpoint)
    try:
        # torch's format before 1.6 is no zip file and cannot be mapped.
        return load_saved(checkpoint, mmap=whole)
    except CompressedError as error:
        raise CheckpointError(
            f"{checkpoint} holds compressed data, which torch.save never writes, and was not loaded; "
            f"get the weights of {spec.name} from {spec.published_at}"
        ) from error
    except Exception as error:  # of any kind: what is no checkpoint makes the reader stumble anywhere
        if isinstance(error, pickle.UnpicklingError) and (name := re.search(r"GLOBAL ([\w.]+)", str(error))):
            cause = f"holds more than weights ({name[1]}), which could run any code, and was not loaded"
        elif zipped and not whole:
            cause = f"is cut short: only {checkpoint.stat().st_size} bytes are there"
        else:
            cause = "is not a checkpoint, or a damaged one"
        raise CheckpointError(
            f"{checkpoint} {cause}; get the weights of {spec.name} from {spec.published_at}, "
            "or save the state_dict() of your own model alone"
        ) from error


def _starts_as_zip(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4) == b"PK\x03\x04"


def _kind(tensor: Tensor) -> tuple[torch.Size, bool, torch.layout]:
    return tensor.shape, tensor.is_floating_point(), tensor.layout


def _some(items: Sequence[str], most: int = 3) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
