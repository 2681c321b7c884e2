"""LiteMedSAM's encoder against the module published with its weights."""

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn

from acdc_medsam.encoders import load_model, make_encoder, positional_encoding
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.encoders.sam import modeling
from acdc_medsam.encoders.tiny_vit import Attention, MBConv, build_lite_medsam
from reference import lite_medsam_model


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> nn.Module:
    return load_model("lite_medsam", checkpoint, ENCODERS["lite_medsam"].sha256)


@pytest.fixture(scope="module")
def published(checkpoint: Path) -> nn.Module:
    """The published module with the published weights."""
    try:
        original = lite_medsam_model()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    original.load_state_dict(torch.load(checkpoint, weights_only=True))
    return original.eval()


def test_the_encoder_agrees_with_the_published_module(model: nn.Module, published: nn.Module) -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        actual = cast(nn.Module, model.image_encoder)(images)
        expected = cast(nn.Module, published.image_encoder)(images)
    assert actual.shape == (1, 256, 64, 64)
    assert (actual - expected).abs().max() / expected.abs().max() < 1e-5


def test_the_published_weights_fill_every_name(checkpoint: Path) -> None:
    names = list(torch.load(checkpoint, weights_only=True, mmap=True))
    assert set(build_lite_medsam().state_dict()) == set(names)
    assert len(names) == 435


def test_an_embedding_depends_on_its_image_alone(model: nn.Module) -> None:
    """Not on the number of threads, nor on the other images of a batch."""
    images = torch.randint(0, 256, (2, 256, 256), dtype=torch.uint8)
    encoder = make_encoder(model, ENCODERS["lite_medsam"], "float32", torch.device("cpu"))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = encoder.encode(images)
        torch.set_num_threads(1)
        alone = encoder.encode(images[1:2])
    finally:
        torch.set_num_threads(threads)
    assert together.shape == (2, 256, 64, 64) and together.is_contiguous() and together.dtype == torch.float32
    assert torch.equal(together[1], alone[0])


def test_the_positional_encoding_is_segment_anythings(model: nn.Module, checkpoint: Path) -> None:
    encoder = modeling.PromptEncoder(256, (64, 64), (256, 256), 16)
    prefix = "prompt_encoder."
    weights = torch.load(checkpoint, weights_only=True)
    encoder.load_state_dict(
        {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    )
    encoding = positional_encoding(model)
    assert encoding.shape == (1, 256, 64, 64) and encoding.dtype == torch.float32 and encoding.is_contiguous()
    assert torch.equal(encoding, encoder.get_dense_pe())


def test_the_bias_of_two_tokens_depends_on_their_distance() -> None:
    attention = Attention(width=2, heads=1, window=2)
    attention.attention_biases.data = torch.tensor([[0.0, 1.0, 10.0, 11.0]])
    # Tokens (0, 0), (0, 1), (1, 0), (1, 1); 1 for a column's difference, 10 for a row's.
    assert attention.bias()[0].tolist() == [[0, 1, 10, 11], [1, 0, 11, 10], [10, 11, 0, 1], [11, 10, 1, 0]]


@pytest.mark.parametrize("height", [1, 16, 17, 40])
def test_strips_join_without_a_seam(height: int) -> None:
    torch.manual_seed(0)
    block = MBConv(4).eval()
    x = torch.randn(2, height, 5, 4)
    with torch.inference_mode():
        torch.testing.assert_close(block(x), block.strip(x, 0, height))
