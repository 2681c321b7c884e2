"""Prompts that a mask gives: its tight box, the box moved a little, points inside it."""

import torch
from torch import Tensor


def tight_box(mask: Tensor) -> Tensor:
    """Tight box of a boolean mask (H, W): (4,) float32, the first and last column and row (x0, y0, x1, y1) in pixels.

    Raises:
        ValueError: the mask is empty.
    """
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    if not len(rows):
        raise ValueError("an empty mask has no box")
    return torch.stack([columns[0, 0], rows[0, 0], columns[-1, 0], rows[-1, 0]]).float()


def jitter_box(box: Tensor, pixels: float, size: int, generator: torch.Generator) -> Tensor:
    """Move each side of a box (4,) by up to so many pixels either way; it stays inside a picture of ``size`` pixels."""
    moved = box + (2 * torch.rand(4, generator=generator) - 1) * pixels
    moved = moved.clamp(0, size - 1)
    return torch.cat([torch.minimum(moved[:2], moved[2:]), torch.maximum(moved[:2], moved[2:])])


def sample_points(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw points inside a boolean mask (H, W), with repetition: (count, 2) float32, (x, y) in pixels.

    Raises:
        ValueError: the mask is empty.
    """
    inside = mask.nonzero()
    if not len(inside):
        raise ValueError("there is no point inside an empty mask")
    return inside[torch.randint(len(inside), (count,), generator=generator)].flip(1).float()
