"""Overlap, distance and volume of masks in three dimensions, by MONAI where it has them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance
from torch import Tensor

Mask = npt.NDArray[np.bool_]
Spacing = Sequence[float]


@dataclass(frozen=True)
class Agreement:
    """How a mask agrees with the truth.

    Attributes:
        dice: in [0, 1].
        hd95_mm: Hausdorff distance, 95th percentile, in mm; None where the mask is empty.
        assd_mm: average symmetric surface distance in mm; None where the mask is empty.
        volume_ml: of the mask.
        true_volume_ml: of the truth.
    """

    dice: float
    hd95_mm: float | None
    assd_mm: float | None
    volume_ml: float
    true_volume_ml: float


def overlap(predicted: Mask, truth: Mask) -> float:
    """Dice of two masks of one shape; the truth must not be empty."""
    return float(compute_dice(_batch(predicted), _batch(truth)))


def compare(predicted: Mask, truth: Mask, spacing: Spacing) -> Agreement:
    """Compare masks (Z, H, W) of the same grid.

    Args:
        predicted: may be empty.
        truth: not empty.
        spacing: (z, y, x) in mm.
    """
    hd95 = assd = None
    if predicted.any():
        masks, options = (_batch(predicted), _batch(truth)), {"include_background": True, "spacing": list(spacing)}
        hd95 = float(compute_hausdorff_distance(*masks, percentile=95, **options))
        assd = float(compute_average_surface_distance(*masks, symmetric=True, **options))
    return Agreement(
        dice=overlap(predicted, truth),
        hd95_mm=hd95,
        assd_mm=assd,
        volume_ml=millilitres(predicted, spacing),
        true_volume_ml=millilitres(truth, spacing),
    )


def millilitres(mask: Mask, spacing: Spacing) -> float:
    """Volume of a mask (Z, H, W) on a grid of ``spacing`` mm."""
    return float(mask.sum() * np.prod(spacing) / 1000)


def ejection_fraction(end_diastolic_ml: float, end_systolic_ml: float) -> float | None:
    """Share of the end-diastolic volume that a beat ejects, in percent; None where that volume is 0."""
    return 100 * (end_diastolic_ml - end_systolic_ml) / end_diastolic_ml if end_diastolic_ml else None


def _batch(mask: Mask) -> Tensor:
    return torch.from_numpy(mask)[None, None]
