import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.formats.files import read_table
from acdc_medsam.formats.index import index_row, read_records, write_index
from acdc_medsam.formats.png import read_gray
from acdc_medsam.stages.split_rule import SplitRule
from parsed_page import Page
from small_dataset import SmallDataset


@pytest.fixture(scope="module")
def whole(made: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallDataset:
    """A dataset with its report, which tests must not change."""
    folder = tmp_path_factory.mktemp("report") / "set"
    shutil.copytree(made, folder)
    dataset = SmallDataset(folder)
    dataset.report(raw)
    return dataset


@pytest.fixture(scope="module")
def text(whole: SmallDataset) -> str:
    """The page of the dataset ``whole``."""
    return (whole.data / "report.html").read_text(encoding="utf-8")


def test_patients_that_are_shared_are_a_warning(reported: SmallDataset, raw: Path, text: str) -> None:
    assert "No patient is in more than one split" in text and 'class="warning"' not in text
    page = reported.report(raw, "slice")
    assert "in more than one split, so that a score" in page and 'class="warning"' in page


def test_the_page_says_what_a_published_split_is(reported: SmallDataset, raw: Path) -> None:
    page = reported.report(raw, rule=SplitRule("ssl4mis"))
    assert "ssl4mis, as published in HiLab-git/SSL4MIS, data/ACDC/train.list" in page
    assert "test is 20 of ACDC&#39;s training patients" in page
    assert "in no split, and therefore with H5 files only: patient004" in page
    assert "split.scheme ssl4mis promises no shares: 1 of 2 patients of train and val are in val" in page


def test_the_page_is_well_formed_and_loads_nothing(text: str) -> None:
    assert Page(text).open == [] and 'id="results"' not in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "url(" not in text.replace("url(#", "")
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(identifiers)


def test_the_page_is_accessible_without_seeing_it(text: str) -> None:
    page = Page(text)
    assert all(image["alt"] and image["src"] for image in page.of("img"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.of("table")) == len(page.of("caption"))
    assert all("scope" in head for head in page.of("th"))


def test_the_page_shows_every_check_and_every_group(whole: SmallDataset, text: str) -> None:
    page = Page(text)
    for name in json.loads((whole.data / "quality.json").read_text())["checks"]:
        assert name in page.text
    rows = read_table(whole.data / "manifest.tsv")
    groups = {row["group"] for row in rows}
    first = {min(row["patient"] for row in rows if row["group"] == group) for group in groups}
    shown = [row for row in rows if row["patient"] in first]
    assert sum((image["alt"] or "").startswith("The embedding of slice") for image in page.of("img")) == len(shown)


def test_the_page_is_the_same_bytes_again(whole: SmallDataset, raw: Path, text: str) -> None:
    assert whole.report(raw, publish=False) == text


def test_without_an_encoder_the_page_says_so(reported: SmallDataset, raw: Path) -> None:
    page = Page(reported.report(raw, embeddings=False))
    assert "This dataset was made without an encoder" in page.text
    assert not [image for image in page.of("img") if (image["alt"] or "").startswith("The embedding")]


def test_problems_are_listed_and_names_from_files_are_escaped(reported: SmallDataset, raw: Path) -> None:
    reported.measure(raw)
    rows = [index_row(written, reported.index) for written, _ in read_records(reported.index)]
    write_index(reported.index, rows, left_out=["patient099: no such frame"])
    (reported.data / "train/images/<script>alert(1)<").touch()
    picture = next(
        path for path in sorted((reported.data / "train/images").iterdir()) if path.name.startswith("patient")
    )
    picture.chmod(0o644)
    picture.write_bytes(b"damaged")
    text = reported.report(raw, publish=False)
    page = Page(text)
    assert "<script>" not in text and "<script>alert(1)<" in page.text
    assert "patient099: no such frame" in page.text
    assert f"images/{picture.name}" in page.text and "Some checks failed" in page.text
    missing = [attributes for attributes in page.of("div") if attributes.get("class") == "missing"]
    assert missing and "not a readable PNG" in page.text


def test_planted_anomalies_are_named(reported: SmallDataset, raw: Path) -> None:
    reported.publish()
    rows = read_table(reported.data / "manifest.tsv")
    train, val = (next(row for row in rows if row["split"] == split) for split in ("train", "val"))
    dark = next(row for row in rows if row["split"] == "train" and row["patient"] != train["patient"])
    reported.replace_image(dark, np.full((64, 64), 3, np.uint8))
    reported.replace_image(val, read_gray(reported.data / "train/images" / f"{train['slice']}.png"))
    page = re.sub(r"\s+", " ", Page(reported.report(raw)).text)
    assert f"Darkest: {dark['slice']}, 1.2 %" in page
    assert f"train/{train['slice']} = val/{val['slice']}" in page
    assert f"train/{train['slice']} and val/{val['slice']}: 1.0000" in page
