"""A cine of a synthetic heart with its true masks, in memory, the volumes that it was made with, and the page on it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from acdc_medsam.phantom.anatomy import draw_grid, draw_heart, label_volume
from acdc_medsam.phantom.cine import CardiacCycle, tabulate_truth
from acdc_medsam.predict.description import describe_scan
from acdc_medsam.predict.page import write_page
from acdc_medsam.predict.pictures import draw_scan
from acdc_medsam.predict.scan import Labels, Scan, Segmented

TEMPLATE = Path(__file__).parents[2] / "workflow/report/page/predictions_page.html.j2"

BEAT = CardiacCycle(ed=4, es=12, frames=25)
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


def write_predictions(folder: Path, *scans: Segmented, failed: Mapping[str, str] | None = None) -> Path:
    """Write the pictures of some scans and the page on them, and return its path."""
    # What describes a scan is kept as JSON.
    descriptions = [json.loads(json.dumps(describe_scan(one, None))) for one in scans]
    pictures = {one["name"]: folder / str(index) for index, one in enumerate(descriptions)}
    for one, description in zip(scans, descriptions, strict=True):
        pictures[description["name"]].mkdir()
        for name, content in draw_scan(one, description).items():
            (pictures[description["name"]] / name).write_bytes(content)
    settings = {"software": "acdc-medsam 0", "encoder": "lite_medsam", "assumed": "", "training": {"options": 1}}
    return write_page(folder / "report.html", TEMPLATE, descriptions, pictures, failed or {}, settings).path
