"""What masks measure: the course of volumes, phases and function against the heart that the masks were made from."""

import json
from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.formats.files import read_table
from acdc_medsam.measures.function import ejection_fraction
from acdc_medsam.predict.beats import group_scans
from acdc_medsam.predict.description import describe_scan, measure_gray
from acdc_medsam.predict.table import COLUMNS, write_measurements
from beating_heart import BEAT, beating_heart, single_frame, with_labels

ED, ES = BEAT.ed - 1, BEAT.es - 1


@pytest.mark.parametrize("group", ["NOR", "RV"])
def test_curve_phases_and_ejection_fraction_are_those_of_the_heart(group: str) -> None:
    segmented, truth = beating_heart(group)
    described = describe_scan(segmented, None)
    assert described["phases"] == {"ED": ED, "ES": ES}
    for structure in LABELS:
        key = f"{structure.lower()}_ml"
        measured = np.array([frame[key] for frame in described["frames"]])
        true = np.array([row[key.replace("_ml", "_slices_ml")] for row in truth])
        # Voxels of 2.5 mm: a tenth of the radius of the left ventricle.
        assert np.abs(measured - true).max() < 0.04 * true.max(), structure

    (examination,) = group_scans([described])
    for ventricle in ("LV", "RV"):
        assert examination.beat is not None
        ed, es = (truth[index][f"{ventricle.lower()}_slices_ml"] for index in (ED, ES))
        assert examination.beat.ejection_fraction(ventricle) == pytest.approx(ejection_fraction(ed, es), abs=3)
        assert examination.beat.stroke_volume(ventricle) == pytest.approx(ed - es, abs=0.05 * ed)


def test_the_figures_by_hand() -> None:
    labels = np.zeros((1, 2, 16, 16), np.uint8)
    labels[0, 1, :4, :5] = 2
    segmented = with_labels(labels, spacing=(10.0, 2.0, 1.5), phases=("ED",), images=labels)
    frame = describe_scan(segmented, None)["frames"][0]
    assert frame["myo_ml"] == pytest.approx(20 * 0.03) and frame["myo_g"] == pytest.approx(0.6 * 1.05)
    assert (frame["lv_ml"], frame["phase"], frame["named"], frame["seconds"]) == (0, "ED", "ED", None)


def test_without_a_left_ventricle_there_is_no_phase() -> None:
    empty = with_labels(np.zeros_like(beating_heart()[0].labels))
    described = describe_scan(empty, None)
    assert measure_gray(empty) == pytest.approx(empty.scan.images.mean((1, 2, 3)) / 255)
    assert described["phases"] == {} and group_scans([described])[0].beat is None


def test_times_that_are_no_heart_beat_are_not_shown() -> None:
    segmented = with_labels(beating_heart()[0].labels, frame_seconds=1.0)
    described = describe_scan(segmented, None)
    assert described["frame_seconds"] is None and "25 frames are 1 s apart" in described["notes"][0]


def test_single_volumes_of_a_person_make_a_beat() -> None:
    cine = describe_scan(beating_heart()[0], None)
    ed, es = (describe_scan(single_frame(phase, index), None) for phase, index in (("ED", ED), ("ES", ES)))
    other = describe_scan(single_frame("ES", ES, subject="other"), None)
    one, two, three = group_scans([es, cine, ed, other])
    assert (one.name, two.name, three.name) == ("person", "person_4d", "other_ES")
    assert one.beat is not None and two.beat is not None and three.beat is None
    assert one.beat.ejection_fraction("RV") == two.beat.ejection_fraction("RV")
    assert group_scans([ed, ed | {"name": "again"}, es])[0].beat is None, "two frames at end-diastole"


def test_the_table_has_one_row_per_frame_and_one_function_per_beat(tmp_path: Path) -> None:
    # What describes a scan is kept as JSON.
    cine, *singles = (
        json.loads(json.dumps(describe_scan(segmented, None)))
        for segmented in (beating_heart()[0], single_frame("ES", ES), single_frame("ED", ED))
    )
    written = write_measurements(tmp_path / "measurements.tsv", [cine, *singles])
    rows = read_table(written.path)
    assert len(rows) == BEAT.frames + 2 and list(rows[0]) == list(COLUMNS)

    function = [row for row in rows if row["lv_ejection_percent"]]
    assert [(row["scan"], row["phase"], row["frame"]) for row in function] == [
        ("person_4d", "ES", str(BEAT.es)),
        ("person_ES", "ES", "1"),
    ]
    percent = {row["lv_ejection_percent"] for row in function}
    assert percent == {f"{100 * (1 - cine['frames'][ES]['lv_ml'] / cine['frames'][ED]['lv_ml']):.2f}"}
    assert rows[1]["seconds"] == f"{BEAT.frame_seconds:.4f}" and rows[-1]["seconds"] == ""
    assert rows[0]["named_phase"] == "" and rows[-1]["named_phase"] == "ED"
