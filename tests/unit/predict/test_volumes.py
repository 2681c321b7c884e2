"""Volumes over a beat by hand: what is a jump, and which frames are end-diastole and end-systole."""

import numpy as np
import pytest

from acdc_medsam.predict.framing import frame_heart
from acdc_medsam.predict.volumes import Curve, find_jumps, find_phases, smooth_volumes
from beating_heart import BEAT, beating_heart, with_labels

UNNAMED = (None,) * 20


def beat(slices: int = 10) -> Curve:
    """A beat of 20 frames (T, Z) from 100 to 40 ml and back, the same in each slice; end-diastole is frame 1."""
    curve = 70 + 30 * np.cos(2 * np.pi * np.arange(20) / 20)
    return np.repeat(curve[:, None] / slices, slices, axis=1)


def test_a_whole_slice_in_one_frame_is_a_jump_and_a_step_by_one_is_none() -> None:
    assert find_jumps(beat()) == []
    spike = beat()
    spike[15] *= 1.25
    assert find_jumps(spike) == [15]

    # In a heart of three slices, a slice is a third of the volume.
    step = beat(3)
    step[2:18, 0] = 0
    assert find_jumps(step) == []
    lost = beat(3)
    lost[19, 0] = 0
    assert find_jumps(lost) == [19]


def test_three_frames_have_no_course() -> None:
    few = beat()[::7]
    assert find_jumps(few) == [] and (smooth_volumes(few) == few.sum(1)).all()
    assert find_phases(few, UNNAMED[:3]) == {"ED": 0, "ES": 1}


def test_the_smoothing_goes_on_from_the_last_frame_to_the_first() -> None:
    assert smooth_volumes(beat()) == pytest.approx(beat().sum(1), abs=0.5)
    # A parabola through five frames that are not on one.
    volumes = beat()
    volumes[1] *= 1.05
    parabola = np.polyfit(np.arange(-2, 3), volumes.sum(1)[[-2, -1, 0, 1, 2]], 2)
    assert smooth_volumes(volumes)[0] == pytest.approx(parabola[-1])


@pytest.mark.parametrize(("lost", "found"), [(8, {10}), (10, {9, 11})])
def test_a_frame_without_the_ventricle_is_not_end_systole_and_moves_it_little(lost: int, found: set[int]) -> None:
    volumes = beat()
    volumes[lost] = 0
    phases = find_phases(volumes, UNNAMED)
    assert phases["ED"] == 0 and phases["ES"] in found


def test_frames_that_all_jump_have_no_phases() -> None:
    assert find_phases(np.array([[100.0], [0.0]] * 10), UNNAMED) == {}


def test_the_slices_go_from_base_to_apex_in_either_direction() -> None:
    labels = beating_heart()[0].labels
    for turned, direction in ((labels, 1), (labels[:, ::-1], -1)):
        shown = frame_heart(with_labels(turned), {"ED": BEAT.ed - 1})["frames"]["ED"]["slices"]
        steps = set(np.diff([one["index"] for one in shown]).tolist())
        assert steps == {direction} and "LV" in shown[1]["outlines"]
