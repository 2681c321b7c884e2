"""Read a checkpoint file and load its weights into a model, or explain why that is impossible."""

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
"""Name of an encoder -> function that builds its model on the meta device."""


def load_model(name: str, checkpoint: Path, sha256: str | None = None) -> nn.Module:
    """Load a model for inference: in eval mode, on the CPU, its weights without gradients.

    Args:
        name: Name of the encoder.
        checkpoint: File of ``torch.save`` with a state_dict, alone or under the key ``model`` or ``state_dict``.
        sha256: Expected hex sha256 of the file; None accepts any.

    Returns:
        A model with ``image_encoder``, (B, 3, S, S) -> (B, 256, 64, 64), ``prompt_encoder`` and ``mask_decoder``.

    Raises:
        KeyError: ``name`` is none of ENCODERS.
        CheckpointError: The file is missing, has another sha256, cannot be read, or holds anything but the weights of
            this encoder.
    """
    spec = ENCODERS[name]
    require_file(checkpoint, spec)
    if sha256 is not None:
        checked_sha256(checkpoint, spec, sha256)

    weights = read_weights(checkpoint, spec)
    model = ARCHITECTURES[name]()
    check_fit(model, weights, checkpoint, spec)
    # Converted after the check, which has refused by its shape any tensor that claims to be larger than its file.
    model.load_state_dict({key: _as_float32(value) for key, value in weights.items()}, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def read_weights(checkpoint: Path, spec: EncoderSpec) -> dict[str, Tensor]:
    """Read the state_dict of a checkpoint. Only tensors and plain containers are accepted, so no code is run.

    Args:
        checkpoint: The file.
        spec: The encoder that it is for.

    Returns:
        Name -> tensor of the type in the file, mapped from the file where possible.

    Raises:
        CheckpointError: The file cannot be read, or holds anything but weights.
    """
    content = _load(checkpoint, spec)
    # Training scripts often save the weights together with the state of the optimizer.
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break

    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{checkpoint} holds no state_dict but {type(content).__name__}; save the model's state_dict() alone, "
            f"or use the published weights of {spec.name} ({spec.published_at})"
        )

    foreign = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if foreign:
        raise CheckpointError(
            f"{checkpoint} holds other things than weights: {_list_some(foreign)}; save the model's state_dict() alone"
        )
    return {str(key): value for key, value in content.items()}


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def check_fit(model: nn.Module, weights: Mapping[str, Tensor], checkpoint: Path, spec: EncoderSpec) -> None:
    """Check that the names and shapes of weights are exactly the model's.

    Raises:
        CheckpointError: They are not; the message names an encoder that they fit, if there is one.
    """
    problems = find_misfits(model, weights)
    if not problems:
        return

    fitting = find_fitting(weights)
    if fitting:
        advice = f"the file fits {' and '.join(fitting)}: is encoder.name meant to be that?"
    else:
        advice = f"it fits no other encoder either; the weights of {spec.name} are at {spec.published_at}"
    raise CheckpointError(f"{checkpoint} does not fit {spec.name}: {'; '.join(problems)}; {advice}")


def find_fitting(weights: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the encoders whose models have exactly these weights, by name and shape."""
    return [name for name, build in ARCHITECTURES.items() if not find_misfits(build(), weights)]


def find_misfits(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Describe the differences between the weights of a file and those of a model; an empty list if they fit."""
    # The model may be on the meta device, which has shapes and types but no values.
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
    return [f"{len(items)} weights {what}: {_list_some(items)}" for what, items in found.items() if items]


def _load(checkpoint: Path, spec: EncoderSpec) -> Any:
    """Load a checkpoint; any failure becomes a CheckpointError that names the cause."""
    starts_as_zip = call_reader(checkpoint, _starts_as_zip)
    is_zip = zipfile.is_zipfile(checkpoint)
    try:
        # The format of torch before 1.6 is no zip file, and cannot be mapped into memory.
        return load_saved(checkpoint, mmap=is_zip)
    except CompressedError as error:
        raise CheckpointError(
            f"{checkpoint} holds compressed data, which torch.save never writes, and was not loaded; "
            f"get the weights of {spec.name} from {spec.published_at}"
        ) from error
    except Exception as error:  # of any type: torch fails in many ways on a file that is no checkpoint
        if isinstance(error, pickle.UnpicklingError) and (name := re.search(r"GLOBAL ([\w.]+)", str(error))):
            cause = f"holds more than weights ({name[1]}), which could run any code, and was not loaded"
        elif starts_as_zip and not is_zip:  # the directory of a zip file is at its end
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
    """Return the properties of a tensor that must agree with the model's."""
    return tensor.shape, tensor.is_floating_point(), tensor.layout


def _list_some(items: Sequence[str], most: int = 3) -> str:
    """Join the first items, and say how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
