"""Prompts made from a mask: its tight box, a jittered box, and points inside it."""

import torch
from torch import Tensor


def tight_box(mask: Tensor) -> Tensor:
    """Compute the tight box of a boolean mask (H, W).

    Returns:
        The first and last column and row (x0, y0, x1, y1) in pixels: (4,) float32.

    Raises:
        ValueError: The mask is empty.
    """
    rows = mask.any(1).nonzero()
    columns = mask.any(0).nonzero()
    if not len(rows):
        raise ValueError("an empty mask has no box")
    return torch.stack([columns[0, 0], rows[0, 0], columns[-1, 0], rows[-1, 0]]).float()


def jitter_box(box: Tensor, pixels: float, size: int, generator: torch.Generator) -> Tensor:
    """Move each side of a box by a random distance.

    Args:
        box: The box (4,) as x0, y0, x1, y1.
        pixels: The largest distance in either direction.
        size: The side of the image in pixels, inside which the box stays.
        generator: The source of the random numbers.

    Returns:
        The jittered box (4,).
    """
    moved = box + (2 * torch.rand(4, generator=generator) - 1) * pixels
    moved = moved.clamp(0, size - 1)
    # The sides of a small box may have crossed.
    return torch.cat([torch.minimum(moved[:2], moved[2:]), torch.maximum(moved[:2], moved[2:])])


def sample_points(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw points inside a boolean mask (H, W), with repetition.

    Returns:
        The points (x, y) in pixels: (count, 2) float32.

    Raises:
        ValueError: The mask is empty.
    """
    inside = mask.nonzero()
    if not len(inside):
        raise ValueError("there is no point inside an empty mask")
    return inside[torch.randint(len(inside), (count,), generator=generator)].flip(1).float()
