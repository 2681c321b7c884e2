"""Layers that the encoders share, and the precision that they compute in."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """A linear layer that computes in the precision of its weights, whatever the precision of its input is."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs), of the weights' type."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class PointwiseConv2d(nn.Module):
    """A 1 x 1 convolution without bias as a matrix product.

    torch chooses among algorithms for a 1 x 1 convolution by the number of threads, and they round differently.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1)).permute(0, 3, 1, 2)


def in_strips(function: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> Tensor:
    """Return ``function(x)`` of (B, H, W, C), on a CPU computed for so many rows at a time.

    What a strip needs then stays in the processor's caches, and no memory is asked of the system anew for each layer,
    which took longer than the activations.
    """
    if x.device.type != "cpu":
        return function(x)
    return torch.cat([function(strip) for strip in torch.split(x, rows, dim=1)], dim=1)


def compute_in(encoder: nn.Module, precision: torch.dtype) -> None:
    """Turn an encoder's linear layers, and so its attention, to ``precision``, once and for all.

    Everything else stays float32: the sums that blocks add to, normalization, softmax, convolutions. They
    take little time, and errors in them add up.
    """
    for module in encoder.modules():
        if isinstance(module, Linear):
            module.to(precision)
