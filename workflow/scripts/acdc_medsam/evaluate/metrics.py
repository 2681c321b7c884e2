"""Overlap, distance and volume of masks in three dimensions, computed by MONAI where it has the metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance
from torch import Tensor

from acdc_medsam.evaluate.volumes import Mask
from acdc_medsam.measures.function import voxel_ml

Spacing = Sequence[float]
"""Distance between voxels (z, y, x) in mm, or 1 in each direction where it is unknown."""


@dataclass(frozen=True)
class Units:
    """Units of distances and volumes, which the keys of ``metrics.json`` carry.

    Attributes:
        distance: ``mm`` or ``pixels``.
        volume: ``ml`` or ``voxels``.
    """

    distance: str
    volume: str

    def spacing(self, spacing: Spacing | None) -> Spacing:
        """Return the distance between voxels in these units; the spacing must be known where they are mm and ml."""
        if self == PHYSICAL and spacing is not None:
            return spacing
        return (1.0, 1.0, 1.0)


PHYSICAL = Units("mm", "ml")
UNSCALED = Units("pixels", "voxels")
"""Units for volumes whose spacing is unknown. Distances then count slices like pixels."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of a predicted mask.

    Attributes:
        dice: The Dice coefficient in [0, 1].
        hd95: The 95th percentile of the Hausdorff distance; None if the mask is empty.
        assd: The average symmetric surface distance; None if the mask is empty.
        volume: The volume of the mask.
        true_volume: The volume of the reference.
    """

    dice: float
    hd95: float | None
    assd: float | None
    volume: float
    true_volume: float


def dice_coefficient(predicted: Mask, truth: Mask) -> float:
    """Compute the Dice coefficient of two masks of the same shape; the reference must not be empty."""
    return float(compute_dice(_batch(predicted), _batch(truth)))


def compute_metrics(predicted: Mask, truth: Mask, spacing: Spacing | None, units: Units = PHYSICAL) -> Metrics:
    """Compare a predicted mask (Z, H, W) with the reference on the same grid.

    Args:
        predicted: The predicted mask, which may be empty.
        truth: The reference mask, which must not be empty.
        spacing: The voxel spacing (z, y, x) in mm; None if it is unknown.
        units: The units of distances and volumes.
    """
    scale = units.spacing(spacing)
    hd95 = None
    assd = None
    # An empty mask has no surface to measure distances from.
    if predicted.any():
        masks = (_batch(predicted), _batch(truth))
        options = {"include_background": True, "spacing": list(scale)}
        hd95 = float(compute_hausdorff_distance(*masks, percentile=95, **options))
        assd = float(compute_average_surface_distance(*masks, symmetric=True, **options))

    voxel = voxel_ml(scale) if units == PHYSICAL else 1.0
    return Metrics(
        dice=dice_coefficient(predicted, truth),
        hd95=hd95,
        assd=assd,
        volume=float(predicted.sum() * voxel),
        true_volume=float(truth.sum() * voxel),
    )


def _batch(mask: Mask) -> Tensor:
    return torch.from_numpy(mask)[None, None]
