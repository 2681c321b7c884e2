"""The page on predicted scans."""

from pathlib import Path

from acdc_medsam.predict.description import describe_scan
from beating_heart import BEAT, beating_heart, single_frame, with_labels, write_predictions
from parsed_page import Page


def test_what_needs_a_look_comes_first(tmp_path: Path) -> None:
    labels = beating_heart()[0].labels.copy()
    labels[20] = 0
    bad = with_labels(labels, name="bad<b>", subject="other")
    singles = [single_frame("ED", BEAT.ed - 1), single_frame("ES", BEAT.es - 1)]
    path = write_predictions(tmp_path, beating_heart()[0], *singles, bad, failed={"broken.nii": "broken.nii: <empty>"})
    page = Page(path.read_text(encoding="utf-8"))
    words = " ".join(page.text.split())

    links = [one["href"] for one in page.of("a") if str(one["href"]).startswith("#scan-")]
    assert page.open == [] and links == ["#scan-1", "#scan-2", "#scan-3"]
    shown = [words.index(text) for text in ("bad<b>", "No left ventricle was found in frame 21", "No warning.")]
    assert shown == sorted(shown) and "broken.nii: <empty>" in words
    assert "so no scan was compared with them" in words
    assert "Encoderlite_medsam" in words and "Training" not in words and "Assumed" not in words

    described = describe_scan(beating_heart()[0], None)["frames"]
    percent = 100 * (1 - described[BEAT.es - 1]["lv_ml"] / described[BEAT.ed - 1]["lv_ml"])
    assert words.count(f"{percent:.1f}") >= 4, "in the overview and in the tables of the cine and the single frames"


def test_the_pictures_have_names_and_wait_until_they_are_seen(tmp_path: Path) -> None:
    page = Page(write_predictions(tmp_path, beating_heart()[0]).read_text(encoding="utf-8"))
    images = page.of("img")
    assert all(str(one["src"]).startswith("data:image/webp;base64,") and one["loading"] == "lazy" for one in images)
    texts = {one["alt"] for one in images}
    middle = "slice 3: right ventricle, myocardium, left ventricle"
    assert {f"person_4d: end-diastole, frame 4, {middle}", f"person_4d: end-systole, frame 12, {middle}"} <= texts
    # The animation stands still until it is asked for.
    (animation,) = (one for one in images if one.get("class") == "moving")
    assert "beating" in str(animation["alt"]) and [one.get("type") for one in page.of("input")] == ["checkbox"] * 2


def test_a_page_without_scans_says_so(tmp_path: Path) -> None:
    words = write_predictions(tmp_path, failed={"a.nii": "a.nii: damaged"}).read_text(encoding="utf-8")
    assert "There is no scan to show." in words and "a.nii: damaged" in words
