"""Each warning by a mask that deserves it, and none for a healthy heart."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.predict.beats import group_scans
from acdc_medsam.predict.description import describe_scan, measure_gray, read_ranges
from acdc_medsam.predict.scan import Labels, Segmented
from acdc_medsam.predict.volumes import measure_volumes
from acdc_medsam.predict.warnings import find_warnings
from beating_heart import BEAT, beating_heart, single_frame, with_labels

GRAY = np.zeros(BEAT.frames)
"""Mean gray values, where there is nothing that they are compared with."""

MIDDLE = 5
"""Index of a slice that shows all structures in all frames."""


def ranges(**changes: Any) -> dict[str, Any]:
    """Facts of a training whose ranges the heart is within, with some changes."""
    spacing = list(beating_heart()[0].scan.spacing)
    gray = measure_gray(beating_heart()[0])
    known = {
        "volumes": 8,
        "spacing": {"low": spacing, "high": spacing},
        "gray": {"low": float(gray.min()), "high": float(gray.max())},
    }
    return {"ranges": known | changes}


@pytest.mark.parametrize("group", ["NOR", "RV"])
def test_a_sound_heart_has_no_warning(group: str) -> None:
    (examination,) = group_scans([describe_scan(beating_heart(group)[0], None)])
    assert examination.warnings == []
    assert not examination.scans[0]["compared"] and describe_scan(beating_heart()[0], ranges())["warnings"] == []


def warnings_of(segmented: Segmented) -> list[str]:
    """Warnings of a scan, without all else that describes it, which takes most of the time."""
    return find_warnings(segmented, measure_volumes(segmented.labels, segmented.scan.spacing), GRAY, None)


def lose_ventricle(labels: Labels) -> None:
    labels[labels == LABELS["RV"]] = 0


def lose_in_frame(labels: Labels) -> None:
    labels[7][labels[7] == LABELS["MYO"]] = 0


def keep_one_slice(labels: Labels) -> None:
    others = np.arange(labels.shape[1]) != MIDDLE
    labels[:, others] = np.where(labels[:, others] == LABELS["RV"], 0, labels[:, others])


def open_wall(labels: Labels) -> None:
    for index in (3, 4, 9):
        plane = labels[index, MIDDLE]
        plane[: plane.shape[0] // 2][plane[: plane.shape[0] // 2] == LABELS["MYO"]] = 0


def split_ventricle(labels: Labels) -> None:
    labels[2:4, MIDDLE, 2:5, 2:5] = LABELS["LV"]


def jump(labels: Labels) -> None:
    labels[20][(labels[20] == LABELS["LV"]) & (np.arange(labels.shape[1]) != MIDDLE)[:, None, None]] = 0


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lose_ventricle, "No right ventricle was found."),
        (lose_in_frame, "No myocardium was found in frame 8."),
        (keep_one_slice, "The right ventricle is in one slice only: slice 5 in frames 1 to 25."),
        (
            open_wall,
            "The left ventricle has no myocardium around a part of it: slice 5 in frames 4 to 5, 10.",
        ),
        (split_ventricle, "The left ventricle is in two or more parts: slice 5 in frames 3 to 4."),
        (jump, "The volume of the left ventricle jumps: frame 21 ("),
    ],
)
def test_damage_is_noticed(damage: Callable[[Labels], None], expected: str) -> None:
    labels = beating_heart()[0].labels.copy()
    damage(labels)
    warnings = warnings_of(with_labels(labels))
    assert any(line.startswith(expected) for line in warnings), warnings


def test_the_slices_of_a_single_volume_are_named_without_frames() -> None:
    segmented = single_frame("ED", BEAT.ed - 1)
    labels = segmented.labels.copy()
    labels[0, 2:5, 2:5, 2:5] = LABELS["RV"]
    labels[0, 6, 2:5, 2:5] = LABELS["RV"]
    warnings = warnings_of(with_labels(labels))
    assert "The right ventricle is in two or more parts: slices 2 to 4, 6." in warnings


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spacing": {"low": [5, 1, 1], "high": [6, 9, 9]}}, "The spacing (z, y, x), "),
        ({"spacing": {"low": [5, 1, 4], "high": [20, 9, 9]}}, "The spacing (z, y, x), "),
        ({"gray": {"low": 0.6, "high": 0.9}}, "The mean gray value in frames 1 to 25, "),
        ({"gray": {"low": 0.01, "high": 0.02}}, "The mean gray value in frames 1 to 25, "),
    ],
)
def test_a_scan_unlike_the_training_set_is_noticed(changes: dict[str, Any], expected: str) -> None:
    described = describe_scan(beating_heart()[0], ranges(**changes))
    assert described["compared"]
    assert [line[: len(expected)] for line in described["warnings"]] == [expected]


@pytest.mark.parametrize("broken", [None, {}, {"ranges": None}, ranges(gray="x"), ranges(spacing={"low": [1]})])
def test_ranges_that_make_no_sense_are_unknown(broken: dict[str, Any] | None) -> None:
    assert read_ranges(broken) is None


def test_named_phases_that_are_swapped_are_noticed() -> None:
    swapped = [single_frame("ES", BEAT.ed - 1), single_frame("ED", BEAT.es - 1)]
    (examination,) = group_scans([describe_scan(one, None) for one in swapped])
    assert examination.warnings == [
        f"The {side} ventricle is larger at end-systole than at end-diastole." for side in ("left", "right")
    ]
