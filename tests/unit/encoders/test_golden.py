"""Small encoders with fixed weights compute the recorded numbers.

Embeddings stay in users' stores when the code of an encoder changes: only NUMERICS_VERSION, raised by hand, has them
encoded anew. These tests fail if a change of the code changes the numbers, but not if another processor rounds
differently. Run as a program, the module records new numbers.
"""

import copy
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acdc_medsam.encoders import make_encoder, positional_encoding, prepare_images, registry, vit
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.encoders.sam import PromptedModel, modeling
from acdc_medsam.encoders.tiny_vit import TinyViT

RECORD = Path(__file__).with_name("golden.json")
COMMAND = "PYTHONPATH=workflow/scripts python tests/unit/encoders/test_golden.py"

TOLERANCE = 2e-5
"""Difference in float32, of the values' root mean square; other instruction sets (SSE, AVX2) gave 5e-6."""

LOW_TOLERANCE = 0.02
"""The same in lower precisions, where another order of summing has some values rounded the other way: up to 5e-3."""

SINE_TOLERANCE = 2e-4
"""The same of the positional encoding: libraries have sines of several accuracies, which gave 2e-5."""

LOSS_TOLERANCE = 0.05
"""Relative difference of the loss, the distance of a lower precision from float32. It changes where rounding is done
elsewhere, but by 1 % between instruction sets."""

SMALL = ("proj.", "lin2.", "fc2.", "neck.", "pos_embed", "patch_embed.proj.", "local_conv.bn.")
"""Weights that keep features so small that the eps of a normalization can be told from another one."""


def uniform(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers in [-1, 1) that no release of NumPy or PyTorch changes: the bits of the generator itself."""
    bits = np.random.PCG64(seed).random_raw(count) >> np.uint64(11)
    return bits * 2.0**-52 - 1


def fill(model: PromptedModel) -> PromptedModel:
    """Give a model fixed weights, which depend on their names alone; the mask decoder keeps its own."""
    weights = dict[str, Tensor]()
    for name, tensor in model.state_dict().items():
        if name.startswith("mask_decoder."):
            continue
        if not tensor.is_floating_point():
            weights[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
            continue
        seed = zlib.crc32(name.encode())
        inputs = tensor[0].numel() if tensor.ndim > 1 else 1
        values = uniform(tensor.numel(), seed) * (3 / inputs) ** 0.5
        if "rel_pos" in name or "attention_biases" in name:
            values = uniform(tensor.numel(), seed)
        elif name.endswith("running_var"):
            values = 0.02 + 0.01 * values
        elif tensor.ndim == 1:
            values = 0.1 * values + name.endswith("weight")
        if name.endswith(".c.weight"):
            values = 0.14 * values  # which the normalization that follows makes up for
        if any(part in name for part in SMALL):
            values = 0.05 * values
        weights[name] = torch.from_numpy(values.reshape(tensor.shape)).float()
    model.load_state_dict(weights, strict=False, assign=True)
    return model.eval().requires_grad_(False)


def images(side: int) -> Tensor:
    """Smooth gray image with some noise, (1, side, side) uint8."""
    y, x = np.mgrid[:side, :side] / side
    smooth = 80 + 60 * np.sin(7 * x) + 50 * np.cos(5 * y * x)
    noise = 8 * uniform(side * side, 0).reshape(side, side)
    return torch.from_numpy(np.rint(smooth + noise).astype(np.uint8))[None]


@cache
def small_vit() -> PromptedModel:
    """A ViT of two blocks, one with windows that stick out and one among all of 24 x 24 tokens."""
    encoder = modeling.ImageEncoderViT(
        img_size=384,
        embed_dim=32,
        depth=2,
        num_heads=2,
        out_chans=16,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=(1,),
    )
    vit.replace_layers(encoder)
    return fill(PromptedModel(encoder, 384))


@cache
def small_tiny_vit() -> PromptedModel:
    """LiteMedSAM's own layers, which are small enough for an image of 32 x 32."""
    return fill(PromptedModel(TinyViT(), 32))


def encode(model: PromptedModel, name: str, side: int, precision: str) -> Tensor:
    """Encode one image, (1, channels, h, w), with a copy of the encoder, which takes images of this side."""
    spec = replace(ENCODERS[name], input_size=side)
    fresh = SimpleNamespace(image_encoder=copy.deepcopy(model.image_encoder))
    return make_encoder(cast(nn.Module, fresh), spec, precision, torch.device("cpu")).encode(images(side))


def embeddings() -> Iterator[tuple[str, Tensor]]:
    """Each case's name and tensor, those in lower precisions after that in float32."""
    for precision in ("float32", "tf32", "bfloat16", "float16"):
        for attention in (vit.blocked_attention, vit.folded_attention):
            with mock.patch.object(vit, "blocked_attention", attention):
                embedding = encode(small_vit(), "medsam_vit_b", 384, precision)
            yield f"medsam_vit_b {attention.__name__} {precision}", embedding
        yield f"lite_medsam {precision}", encode(small_tiny_vit(), "lite_medsam", 32, precision)
    yield "sam_vit_b float32", encode(small_vit(), "sam_vit_b", 384, "float32")


def inputs() -> Iterator[tuple[str, Tensor]]:
    """Each case's name and tensor: images of the encoder's size, larger and smaller ones; every fifth row is enough."""
    for name in ("medsam_vit_b", "sam_vit_b", "lite_medsam"):
        for side in (1024, 256, 300):
            yield f"input {name} {side}", prepare_images(images(side), ENCODERS[name])[:, :, ::5]
    yield "positional encoding", positional_encoding(small_vit())


def measure_tensor(tensor: Tensor, exact: Tensor | None = None) -> dict[str, Any]:
    """Figures of a tensor that tell it from others.

    ``sums`` are of all values, each weighted by a sine of its position, over the square root of their number: an error
    anywhere shows in them. ``loss`` is the distance from float32, relative to it.
    """
    values = tensor.double().flatten().numpy()
    position = np.arange(len(values))
    waves = [np.sin((frequency * 0.61803398875 + 0.1) * position + frequency) for frequency in range(4)]
    scale = np.sqrt(np.mean(values**2))
    loss = 0.0 if exact is None else float((tensor - exact).double().norm() / exact.double().norm())
    return {
        "shape": list(tensor.shape),
        "scale": float(scale),
        "values": [float(values[index * (len(values) - 1) // 6]) for index in range(7)],
        "sums": [float(wave @ values / np.sqrt(len(values))) for wave in waves],
        "loss": loss,
    }


def figures() -> dict[str, dict[str, Any]]:
    """Figures of all cases."""
    found = {name: measure_tensor(tensor) for name, tensor in inputs()}
    exact = dict[str, Tensor]()
    for name, tensor in embeddings():
        kind, precision = name.rsplit(" ", 1)
        exact.setdefault(kind, tensor)
        found[name] = measure_tensor(tensor, None if precision == "float32" else exact[kind])
    return found


def find_differences(name: str, actual: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure that differs by more than rounding."""
    if actual["shape"] != recorded["shape"]:
        return [f"{name}: the shape is {actual['shape']}, recorded as {recorded['shape']}"]
    low = name.endswith("float16")
    scale = recorded["scale"]
    sine = name == "positional encoding"
    allowed = scale * (LOW_TOLERANCE if low else SINE_TOLERANCE if sine else TOLERANCE)
    found = []
    for key in ("scale", "values", "sums"):
        pairs = np.atleast_1d(actual[key]), np.atleast_1d(recorded[key])
        worst = np.abs(pairs[0] - pairs[1]).max()
        if not worst <= allowed:
            found.append(f"{name}: {key} differ by {worst / scale:.1e} of the root mean square")
    if low and not abs(actual["loss"] / recorded["loss"] - 1) <= LOSS_TOLERANCE:
        found.append(f"{name}: the loss of precision is {actual['loss']:.2e}, recorded as {recorded['loss']:.2e}")
    return found


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, Any]]:
    return figures()


def test_encoders_compute_the_recorded_numbers(measured: dict[str, dict[str, Any]]) -> None:
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))["cases"]
    assert measured.keys() == recorded.keys(), f"cases were added or removed; record them: {COMMAND}"
    found = [line for name in recorded for line in find_differences(name, measured[name], recorded[name])]
    assert not found, "\n".join(
        [
            *found,
            "The numbers of embeddings have changed. If that is meant, raise NUMERICS_VERSION in encoders/registry.py,",
            f"so that what is in users' stores is encoded anew, and record the new numbers: {COMMAND}",
        ]
    )


def test_tf32_is_float32_on_a_processor(measured: dict[str, dict[str, Any]]) -> None:
    for name, case in measured.items():
        if name.endswith("tf32"):
            assert case["loss"] == 0, name


def test_lower_precisions_lose_something(measured: dict[str, dict[str, Any]]) -> None:
    for name, case in measured.items():
        if name.endswith("float16"):
            assert 1e-5 < case["loss"] < 0.05, name


def record() -> None:
    """Write the figures of this code, unless they differ from those of the same NUMERICS_VERSION."""
    actual = figures()
    if RECORD.is_file():
        old = json.loads(RECORD.read_text(encoding="utf-8"))
        same = old["cases"].keys() & actual.keys()
        found = [line for name in sorted(same) for line in find_differences(name, actual[name], old["cases"][name])]
        if found and old["numerics_version"] == registry.NUMERICS_VERSION:
            raise SystemExit("\n".join([*found, "Nothing was recorded: raise NUMERICS_VERSION first."]))
    content = {"numerics_version": registry.NUMERICS_VERSION, "cases": actual}
    RECORD.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
