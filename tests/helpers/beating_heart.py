"""A cine of a synthetic heart with its true masks, in memory, and the volumes that it was made with."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from acdc_medsam.phantom.anatomy import draw_grid, draw_heart, label_volume
from acdc_medsam.phantom.cine import Beat, tabulate_truth
from acdc_medsam.predict.scan import Labels, Scan, Segmented

BEAT = Beat(ed=4, es=12, frames=25)
"""Frames of the beat. The cine does not begin at end-diastole."""


@cache
def beating_heart(group: str = "NOR") -> tuple[Segmented, list[dict[str, Any]]]:
    """Make a cine of a heart of a pathology group; its masks are not to be changed.

    Returns:
        The cine, and the true volumes of each frame, see :func:`acdc_medsam.phantom.cine.tabulate_truth`.
    """
    rng = np.random.default_rng(5)
    grid = draw_grid(rng, (72, 64), 10)
    heart = draw_heart(rng, group, grid)
    labels = np.stack([label_volume(heart, grid, contraction) for contraction in BEAT.contractions()])
    scan = Scan(
        name="person_4d",
        subject="person",
        images=60 * labels + 40,
        spacing=(float(grid.spacing[2]), float(grid.spacing[1]), float(grid.spacing[0])),
        frame_seconds=BEAT.frame_seconds,
        phases=(None,) * BEAT.frames,
    )
    return Segmented(scan, labels), list(tabulate_truth(heart, grid, BEAT))


def with_labels(labels: Labels, **changes: Any) -> Segmented:
    """Make a scan with other masks (T, Z, H, W), and with other attributes."""
    scan = beating_heart()[0].scan
    scan = replace(scan, images=scan.images[: len(labels)], phases=scan.phases[: len(labels)])
    return Segmented(replace(scan, **changes), labels)


def single_frame(phase: str, index: int, subject: str = "person") -> Segmented:
    """Make a single volume of a frame of the cine."""
    segmented = beating_heart()[0]
    changes = {"images": segmented.scan.images[index : index + 1], "phases": (phase,), "frame_seconds": None}
    return with_labels(segmented.labels[index : index + 1], name=f"{subject}_{phase}", subject=subject, **changes)
