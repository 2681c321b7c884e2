"""Layers that several encoders share, and the precision in which they compute."""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@cache
def has_onednn_linear() -> bool:
    """Whether oneDNN computes linear layers in float32: on processors with AVX-512, if PyTorch has the operation."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    one = torch.ones(1, 1)
    try:
        torch.ops.mkldnn._linear_pointwise(one, one, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):  # PyTorch promises neither the name nor the arguments
        return False
    return True


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute ``F.linear``, in float32 on a CPU by the faster library.

    For float32, PyTorch calls MKL, which makes no use of AVX-512 on processors that are not Intel's: one core of an AMD
    EPYC (Zen 5) reaches 110 GFLOP/s. With oneDNN, which PyTorch contains too, the core reaches 190 to 250 GFLOP/s. The
    results of the two differ by rounding error, and do not depend on the number of threads.

    Args:
        x: Features (..., inputs).
        weight: Weights (outputs, inputs) of the same type.
        bias: Bias (outputs,), or none.

    Returns:
        Features (..., outputs), through which gradients flow if PyTorch records them.
    """
    if not runs_on_cpu(x) or x.dtype != torch.float32 or torch.is_grad_enabled() or not has_onednn_linear():
        return F.linear(x, weight, bias)
    output: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return output


class Linear(nn.Linear):
    """Linear layer that computes in the precision of its weights, whatever the precision of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs) of the weights' type."""
        return linear(x.to(self.weight.dtype), self.weight, self.bias)


class PointwiseConv2d(nn.Module):
    """1 x 1 convolution without bias, computed as a matrix product.

    For a convolution, torch chooses an algorithm by the number of threads, and the algorithms round differently.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return linear(x.permute(0, 2, 3, 1), self.weight.flatten(1)).permute(0, 3, 1, 2)


def runs_on_cpu(x: Tensor) -> bool:
    """Whether the result is computed on a CPU now, and not only recorded as a graph.

    Whoever runs the graph chooses libraries and divides the work again, and each part would have nodes of its own.
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def in_strips(function: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> Tensor:
    """Compute ``function(x)``, on a CPU for a strip of rows at a time.

    The features of a strip stay in the processor's cache, and no large block of memory has to be allocated for each
    layer, which took longer than the computation.

    Args:
        function: Function that maps each row independently of the others.
        x: Features (B, H, W, C).
        rows: Number of rows in a strip.
    """
    if not runs_on_cpu(x):
        return function(x)
    return torch.cat([function(strip) for strip in torch.split(x, rows, dim=1)], dim=1)


def compute_in(encoder: nn.Module, precision: torch.dtype) -> None:
    """Convert an encoder's linear layers, and with them its attention, to ``precision``.

    Everything else stays float32: residual sums, normalization, softmax and convolutions take little time, and errors
    in them add up.
    """
    for module in encoder.modules():
        if isinstance(module, Linear):
            module.to(precision)
