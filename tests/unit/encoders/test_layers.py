"""Linear layers agree with PyTorch's, whichever library multiplies."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acdc_medsam.encoders import layers

SHAPES = [(4900, 768, 2304), (1024, 3072, 768), (784, 320, 1280), (3136, 64, 256), (49, 128, 384), (1, 1, 1)]
"""Rows, inputs and outputs, most of them of an encoder's layers."""


@pytest.fixture
def capability() -> Iterator[pytest.MonkeyPatch]:
    """Replaces what PyTorch says of the processor; what is known of it is forgotten before and after the test."""
    layers.has_onednn_linear.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        yield patch
    layers.has_onednn_linear.cache_clear()


def draw(rows: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, inputs, generator=generator)
    return x, torch.randn(outputs, inputs, generator=generator), torch.randn(outputs, generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layer_agrees_with_float64(shape: tuple[int, int, int]) -> None:
    x, weight, bias = draw(*shape)
    for own in (bias, None):
        exact = F.linear(x.double(), weight.double(), None if own is None else own.double())
        with torch.inference_mode():
            output = layers.linear(x, weight, own)
        assert output.dtype == torch.float32
        assert float((output - exact).abs().max() / exact.abs().max()) < 3e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layer_does_not_depend_on_the_number_of_threads(shape: tuple[int, int, int]) -> None:
    x, weight, bias = draw(*shape)
    before = torch.get_num_threads()
    try:
        with torch.inference_mode():
            torch.set_num_threads(1)
            alone = layers.linear(x, weight, bias)
            torch.set_num_threads(2)
            assert torch.equal(layers.linear(x, weight, bias), alone)
    finally:
        torch.set_num_threads(before)


def test_rows_need_not_lie_one_after_another() -> None:
    x = torch.randn(2, 8, 6, 5, generator=torch.Generator().manual_seed(0)).permute(0, 2, 3, 1)
    weight = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))[::2].repeat(1, 2)
    with torch.inference_mode():
        torch.testing.assert_close(layers.linear(x, weight), F.linear(x, weight))


def test_gradients_pass_through() -> None:
    x, weight, bias = draw(5, 4, 3)
    weight.requires_grad_()
    layers.linear(x, weight, bias).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, x.sum(0).expand(3, 4))


def test_without_avx512_pytorch_chooses(capability: pytest.MonkeyPatch) -> None:
    capability.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not layers.has_onednn_linear()
    x, weight, bias = draw(64, 32, 16)
    with torch.inference_mode():
        assert torch.equal(layers.linear(x, weight, bias), F.linear(x, weight, bias))


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_a_pytorch_without_the_operation_is_accepted(capability: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse(*_: object) -> Tensor:
        raise error("no such operation")

    capability.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    capability.setattr(torch.ops.mkldnn, "_linear_pointwise", refuse)
    x, weight, bias = draw(64, 32, 16)
    with torch.inference_mode():
        assert torch.equal(layers.linear(x, weight, bias), F.linear(x, weight, bias))


def test_a_graph_has_pytorchs_own_layer() -> None:
    layer = layers.Linear(4, 3).eval()
    with torch.inference_mode():
        graph = torch.export.export(layer, (torch.zeros(2, 4),)).graph
    called = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert "aten.linear.default" in called and not any("mkldnn" in name for name in called)
