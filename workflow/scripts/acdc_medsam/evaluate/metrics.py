"""Overlap, distance and volume of masks in three dimensions, computed by MONAI where it has the metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance
from torch import Tensor

Mask = npt.NDArray[np.bool_]
"""A binary mask of a slice (H, W) or of a volume (Z, H, W)."""

Spacing = Sequence[float]
"""Distance between voxels (z, y, x) in mm."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of a predicted mask.

    Attributes:
        dice: The Dice coefficient in [0, 1].
        hd95_mm: The 95th percentile of the Hausdorff distance in mm; None if the mask is empty.
        assd_mm: The average symmetric surface distance in mm; None if the mask is empty.
        volume_ml: The volume of the mask in ml.
        true_volume_ml: The volume of the reference in ml.
    """

    dice: float
    hd95_mm: float | None
    assd_mm: float | None
    volume_ml: float
    true_volume_ml: float


def dice_coefficient(predicted: Mask, truth: Mask) -> float:
    """Compute the Dice coefficient of two masks of the same shape; the reference must not be empty."""
    return float(compute_dice(_batch(predicted), _batch(truth)))


def compute_metrics(predicted: Mask, truth: Mask, spacing: Spacing) -> Metrics:
    """Compare a predicted mask (Z, H, W) with the reference on the same grid.

    Args:
        predicted: The predicted mask, which may be empty.
        truth: The reference mask, which must not be empty.
        spacing: The voxel spacing (z, y, x) in mm.
    """
    hd95 = None
    assd = None
    # An empty mask has no surface to measure distances from.
    if predicted.any():
        masks = (_batch(predicted), _batch(truth))
        options = {"include_background": True, "spacing": list(spacing)}
        hd95 = float(compute_hausdorff_distance(*masks, percentile=95, **options))
        assd = float(compute_average_surface_distance(*masks, symmetric=True, **options))

    return Metrics(
        dice=dice_coefficient(predicted, truth),
        hd95_mm=hd95,
        assd_mm=assd,
        volume_ml=volume_in_ml(predicted, spacing),
        true_volume_ml=volume_in_ml(truth, spacing),
    )


def volume_in_ml(mask: Mask, spacing: Spacing) -> float:
    """Compute the volume of a mask (Z, H, W) in ml from the voxel spacing in mm."""
    return float(mask.sum() * np.prod(spacing) / 1000)


def ejection_fraction(end_diastolic_ml: float, end_systolic_ml: float) -> float | None:
    """Compute the percentage of the end-diastolic volume that a beat ejects; None if that volume is 0."""
    return 100 * (end_diastolic_ml - end_systolic_ml) / end_diastolic_ml if end_diastolic_ml else None


def _batch(mask: Mask) -> Tensor:
    return torch.from_numpy(mask)[None, None]
