import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.files import read_table
from acdc_medsam.report import COLOURS, choose_slices, draw_contours, shared_patients, write_report
from acdc_medsam.verify import verify_dataset
from small_dataset import SmallDataset

TEMPLATE = Path(__file__).parents[2] / "workflow/report/report.html.j2"


def page_of(small: SmallDataset, unit: str) -> str:
    small.publish(unit=unit)
    quality = small.data / "quality.json"
    verify_dataset(
        small.output, small.index, quality, small.work / "verified.tsv", small.expectations(unit=unit), threads=1
    )
    settings = {"encoder": "lite_medsam", "precision": "float32", "unit": unit, "validation": 0.2, "seed": 2026}
    write_report(small.data / "manifest.tsv", quality, TEMPLATE, small.data / "report.html", settings)
    return (small.data / "report.html").read_text()


def test_contours_are_drawn_inside_the_structures() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 3
    picture = np.asarray(draw_contours(np.full((40, 40), 100, np.uint8), mask, size=40).convert("RGB"))
    assert tuple(picture[11, 20]) == COLOURS["LV"]
    assert np.abs(picture[[20, 5], [20, 5]].astype(int) - 100).max() <= 1


@pytest.mark.parametrize(
    ("unit", "said"), [("patient", "No patient is in more than one split"), ("slice", "patients are in more than one")]
)
def test_the_page_says_whether_patients_are_shared(small: SmallDataset, unit: str, said: str) -> None:
    page = page_of(small, unit)
    assert said in page
    shared = shared_patients(read_table(small.data / "manifest.tsv"))
    assert bool(shared) == (unit == "slice")


def test_the_page_is_whole_and_asks_nothing_of_the_network(small: SmallDataset) -> None:
    page = page_of(small, "patient")
    HTMLParser().feed(page)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    rows = read_table(small.data / "manifest.tsv")
    chosen = choose_slices(rows)
    assert len(chosen) == 2 * len({row["group"] for row in rows}) == page.count("<img ")
    assert all(row["slice"] in page for row in chosen)
    for name in json.loads((small.data / "quality.json").read_text())["checks"]:
        assert name.replace("<", "&lt;") in page


def test_names_from_files_are_escaped(small: SmallDataset) -> None:
    small.publish()
    (small.data / "train/images/<script>alert(1)<").touch()
    page = page_of(small, "patient")
    assert "<script>" not in page and "&lt;script&gt;" in page
