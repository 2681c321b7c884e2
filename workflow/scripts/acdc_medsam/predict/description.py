"""The facts of a segmented scan from which the table and the page are made."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.measures.function import muscle_grams
from acdc_medsam.predict.framing import frame_heart
from acdc_medsam.predict.scan import Scan, Segmented
from acdc_medsam.predict.volumes import Curve, find_phases, measure_volumes, smooth_volumes
from acdc_medsam.predict.warnings import find_warnings

BEAT_SECONDS = (0.3, 3.0)
"""Shortest and longest duration of a cine that is taken for a heart beat: 200 and 20 beats a minute."""


def describe_scan(segmented: Segmented, training: Mapping[str, Any] | None) -> dict[str, Any]:
    """Describe a scan by what its masks measure.

    Args:
        segmented: The scan and its masks.
        training: What the model was trained on, see :func:`acdc_medsam.train.facts.read_facts`; None if unknown.

    Returns:
        What JSON can hold: ``name``, ``subject``, ``spacing`` (z, y, x) in mm and ``frame_seconds`` of the scan; for
        each of the ``frames`` its number from 1, seconds, named and found phase, volumes in ml and mass in g; the
        ``smoothed`` left ventricle in ml; the index of the frame of each of the ``phases``; what its ``pictures``
        show, see :func:`acdc_medsam.predict.framing.frame_heart`; ``warnings`` and ``notes`` in sentences; and whether
        it was ``compared`` with the training set.
    """
    scan = segmented.scan
    volumes = measure_volumes(segmented.labels, scan.spacing)
    phases = find_phases(volumes["LV"], scan.phases)
    gray = measure_gray(segmented)
    ranges = read_ranges(training)
    step, notes = check_duration(scan)
    return {
        "name": scan.name,
        "subject": scan.subject,
        "spacing": [float(size) for size in scan.spacing],
        "frame_seconds": step,
        "frames": _describe_frames(scan, volumes, phases, step),
        "smoothed": smooth_volumes(volumes["LV"]).tolist(),
        "phases": phases,
        "pictures": frame_heart(segmented, phases),
        "warnings": find_warnings(segmented, volumes, gray, ranges),
        "notes": [*scan.notes, *notes],
        "compared": ranges is not None,
    }


def _describe_frames(
    scan: Scan, volumes: Mapping[str, Curve], phases: Mapping[str, int], step: float | None
) -> list[dict[str, Any]]:
    found = {index: phase for phase, index in phases.items()}
    frames = []
    for index, named in enumerate(scan.phases):
        sizes = {structure: float(of_slices[index].sum()) for structure, of_slices in volumes.items()}
        frames.append(
            {
                "frame": index + 1,
                "seconds": None if step is None else index * step,
                "named": named,
                "phase": found.get(index),
                **{f"{structure.lower()}_ml": sizes[structure] for structure in LABELS},
                "myo_g": muscle_grams(sizes["MYO"]),
            }
        )
    return frames


def check_duration(scan: Scan) -> tuple[float | None, list[str]]:
    """Return the time between the frames of a cine in seconds, or None with a remark if no beat takes that long.

    Many headers have 0 or 1 s there.
    """
    step = scan.frame_seconds
    if step is None or len(scan.images) == 1:
        return None, []
    low, high = BEAT_SECONDS
    if low <= step * len(scan.images) <= high:
        return step, []
    return None, [
        f"By its header, the {len(scan.images)} frames are {step:g} s apart, which is no heart beat, so their times "
        "are not shown."
    ]


def measure_gray(segmented: Segmented) -> Curve:
    """Measure the mean gray value (T,) of the slices that show a structure, or of all if none does, in [0, 1]."""
    images = segmented.scan.images
    means = images.mean((2, 3)) / 255
    shown = np.asarray(segmented.labels.any((2, 3)))
    shown |= ~shown.any(1, keepdims=True)
    return np.asarray((means * shown).sum(1) / shown.sum(1))


def read_ranges(training: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the ranges of the training set, see :func:`acdc_medsam.train.ranges.measure_ranges`, if they are known.

    The model may come from anywhere, and so may what is written about it.
    """
    try:
        ranges = (training or {})["ranges"]
        spacing = {end: [float(size) for size in ranges["spacing"][end]] for end in ("low", "high")}
        gray = {end: float(ranges["gray"][end]) for end in ("low", "high")}
    except (KeyError, TypeError, ValueError):
        return None
    known = [*spacing["low"], *spacing["high"], *gray.values()]
    return {"spacing": spacing, "gray": gray} if len(known) == 8 and all(map(math.isfinite, known)) else None
