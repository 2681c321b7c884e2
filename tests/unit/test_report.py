import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.files import read_table
from acdc_medsam.png import read_gray
from small_dataset import SmallDataset

VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Tags in order, tags left open, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.open, self.text = list[tuple[str, dict[str, str | None]]](), list[str](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize(
    ("unit", "said"), [("patient", "No patient is in more than one split"), ("slice", "patients are in more than one")]
)
def test_the_page_says_whether_patients_are_shared(small: SmallDataset, raw: Path, unit: str, said: str) -> None:
    page = small.report(raw, unit)
    assert said in page
    assert ('class="warning"' in page) == (unit == "slice")


def test_the_page_is_whole_and_asks_nothing_of_the_network(small: SmallDataset, raw: Path) -> None:
    text = small.report(raw)
    page = Page(text)
    assert page.open == []
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "url(" not in re.sub(r"url\(#", "", text)
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(identifiers)
    assert all(image["alt"] and image["src"] for image in page.of("img"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.of("table")) == len(page.of("caption"))
    assert all("scope" in head for head in page.of("th"))
    for name in json.loads((small.data / "quality.json").read_text())["checks"]:
        assert name in page.text
    rows = read_table(small.data / "manifest.tsv")
    first = {
        group: min(row["patient"] for row in rows if row["group"] == group) for group in {r["group"] for r in rows}
    }
    shown = [row for row in rows if row["patient"] in first.values()]
    assert sum((image["alt"] or "").startswith("The embedding of slice") for image in page.of("img")) == len(shown)


def test_the_page_is_the_same_bytes_again(small: SmallDataset, raw: Path) -> None:
    assert small.report(raw) == small.report(raw)


def test_without_an_encoder_the_page_says_so(small: SmallDataset, raw: Path) -> None:
    page = Page(small.report(raw, embeddings=False))
    assert "This dataset was made without an encoder" in page.text
    assert not [image for image in page.of("img") if (image["alt"] or "").startswith("The embedding")]


def test_patients_left_out_and_failing_items_are_listed(small: SmallDataset, raw: Path) -> None:
    small.report(raw)
    comment = "# left out: patient099: no such frame\n"
    small.index.write_text(comment + small.index.read_text())
    picture = small.data / "train/images" / sorted(path.name for path in (small.data / "train/images").iterdir())[0]
    picture.chmod(0o644)
    picture.write_bytes(b"damaged")
    page = Page(small.report(raw, publish=False)).text
    assert "patient099: no such frame" in page
    assert f"images/{picture.name}" in page and "failed" in page
    assert "not a readable PNG" in page


def test_names_from_files_are_escaped(small: SmallDataset, raw: Path) -> None:
    small.publish()
    (small.data / "train/images/<script>alert(1)<").touch()
    page = small.report(raw)
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_planted_oddities_are_named(small: SmallDataset, raw: Path) -> None:
    small.publish()
    rows = read_table(small.data / "manifest.tsv")
    train, val = (next(row for row in rows if row["split"] == split) for split in ("train", "val"))
    dark = next(row for row in rows if row["split"] == "train" and row["patient"] != train["patient"])
    small.replace_image(dark, np.full((64, 64), 3, np.uint8))
    small.replace_image(val, read_gray(small.data / "train/images" / f"{train['slice']}.png"))
    page = re.sub(r"\s+", " ", Page(small.report(raw)).text)
    assert f"Darkest: {dark['slice']}, 1.2 %" in page
    assert f"train/{train['slice']} = val/{val['slice']}" in page
    assert f"train/{train['slice']} and val/{val['slice']}: 1.0000" in page
