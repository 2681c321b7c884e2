"""The summary of a benchmark worked out by hand, its page, and folds that do not make a fair one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.benchmark.folds import read_folds
from acdc_medsam.benchmark.run import write_benchmark
from acdc_medsam.benchmark.summary import Line, find_line, order_ways, summarize
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.report.benchmark import benchmark_section
from benchmark_metrics import SETTINGS, write_metrics
from indexes import is_whole
from parsed_page import Page
from small_dataset import SmallDataset

TEMPLATE = Path(__file__).parents[3] / "workflow/report/page/benchmark_page.html.j2"
FOLDS = [{"patient001": 0.9, "patient002": 0.8}, {"patient003": 0.7}]


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Folders of two folds with three patients."""
    return write_metrics(tmp_path, FOLDS)


@pytest.fixture
def lines(folders: list[Path]) -> list[Line]:
    """The summary of the two folds."""
    return summarize(read_folds(folders))


def test_the_summary_by_hand(lines: list[Line]) -> None:
    assert len(lines) == 3 * (1 + 3 * 3 * 4 + 2)
    at_ed = find_line(lines, "fine_tuned", "LV", "ED", "dice")
    assert (at_ed.patients, at_ed.mean, at_ed.sd) == (3, pytest.approx(0.8), pytest.approx(0.1))
    # One in 27 samples holds the lowest value three times, which is more than the 2.5 % below the interval.
    assert (at_ed.low, at_ed.high) == (pytest.approx(0.7), pytest.approx(0.9))

    # A patient's mean over phases is 0.05 below the value at ED, and counts once.
    for structure in (*LABELS, "all"):
        both = find_line(lines, "fine_tuned", structure, "all", "dice")
        assert (both.patients, both.mean, both.sd) == (3, pytest.approx(0.75), pytest.approx(0.1))

    # The volume of patient n is n ml too large: bias 2, standard deviation 1.
    volume = find_line(lines, "fine_tuned", "MYO", "ES", "volume_error")
    assert (volume.mean, volume.sd, volume.unit) == (pytest.approx(2), pytest.approx(1), "ml")
    assert (volume.lower_limit, volume.upper_limit) == (pytest.approx(2 - 1.96), pytest.approx(2 + 1.96))
    fraction = find_line(lines, "fine_tuned", "RV", "", "ejection_fraction_error")
    assert fraction.mean == pytest.approx(sum(6000 / (100 + number) - 60 for number in (1, 2, 3)) / 3)
    assert at_ed.lower_limit is None


def test_a_structure_that_was_not_found_has_a_dice_and_no_distance(tmp_path: Path) -> None:
    lines = summarize(read_folds(write_metrics(tmp_path, [{"patient001": 0.05, "patient002": 0.8}])))
    dice = find_line(lines, "fine_tuned", "LV", "ES", "dice")
    distance = find_line(lines, "fine_tuned", "LV", "ES", "hd95")
    assert (dice.patients, dice.without_value, dice.mean) == (2, 0, pytest.approx(0.35))
    assert (distance.patients, distance.without_value, distance.mean, distance.sd) == (1, 1, 4, None)


def test_the_main_way_comes_first() -> None:
    assert order_ways() == ["fine_tuned", "fine_tuned_boxes", "zero_shot_boxes"]


def write(folders: list[Path], out: Path, **settings: Any) -> Page:
    """Write a benchmark and return its parsed page."""
    index = out / "index.tsv"
    write_benchmark(folders, TEMPLATE, index, SETTINGS | settings)
    assert is_whole(index)
    return Page((out / "benchmark.html").read_text(encoding="utf-8"))


def test_the_page_shows_the_result_beside_published_ones(folders: list[Path], tmp_path: Path) -> None:
    page = write(folders, tmp_path / "out", folds={"fold_0": 0, "fold_1": 1})
    words = " ".join(page.text.split())
    assert page.open == []
    for text in ("91.54", "92.54", "nnU-Net v2, ResEnc-L", "0.967", "0.928", "0.946", "0.904", "0.896", "0.919"):
        assert text in words, text
    assert "75.00 ± 10.00 [" in words and "3 patients, cross-validation over 2 folds" in words
    assert "Folds 2, 3, 4 of the scheme were not run" in words and "3 patients are few" in words
    assert "chosen from 30 by 20 % of the patients that are not measured" in words
    assert "no measure of how well a structure is found" in words
    # One chart of dots, and Bland-Altman plots of two ejection fractions and six volumes.
    assert len(page.of("svg")) == 1 + 2 + 6
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = [link["href"] for link in page.of("a")]
    assert {"#result", "#published", "#patients", "#volumes", "#boxes", "#folds", "#content"} == set(anchors)
    assert not [tag for tag, attributes in page.tags if str(attributes.get("src", "data:"))[:5] != "data:"]


def test_the_same_metrics_give_the_same_bytes(folders: list[Path], tmp_path: Path) -> None:
    for name in ("one", "other"):
        write(folders, tmp_path / name)
    for file in ("benchmark.tsv", "benchmark.json", "benchmark.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_table_and_results_hold_the_summary(folders: list[Path], tmp_path: Path) -> None:
    page = write(folders, tmp_path / "out")
    rows = read_table(tmp_path / "out/benchmark.tsv")
    results = json.loads((tmp_path / "out/benchmark.json").read_text())
    assert len(rows) == len(results["summary"]) == 117
    assert (
        rows[0]["way"] == "fine_tuned"
        and float(rows[0]["mean"]) == pytest.approx(0.75)
        and rows[0]["lower_limit"] == ""
    )
    assert [fold["patients"] for fold in results["folds"]] == [["patient001", "patient002"], ["patient003"]]
    assert len(results["volumes"]["fine_tuned"]) == 3 * 2 * 3
    assert results["published"]["challenge_best_dice"]["dice"]["LV"] == {"ED": 0.967, "ES": 0.928}
    assert "Folds" not in " ".join(results["cautions"]) and "was not found" in page.text


def test_one_patient_has_no_interval(tmp_path: Path) -> None:
    page = write(write_metrics(tmp_path / "folds", [{"patient001": 0.9}]), tmp_path / "out")
    row = read_table(tmp_path / "out/benchmark.tsv")[0]
    assert (row["patients"], row["sd"], row["low"], row["high"]) == ("1", "", "", "")
    assert "limits of agreement need two" in page.text and "nan" not in page.text.lower()


def test_a_label_budget_is_said(folders: list[Path], tmp_path: Path) -> None:
    for folder in folders:
        content = json.loads((folder / "metrics.json").read_text())
        content["training"]["options"]["patients"] = 5
        (folder / "metrics.json").write_text(json.dumps(content))
    page = write(folders, tmp_path / "out")
    assert "Only 5 patients were trained on in each fold" in page.text
    assert "Only 5 patients" in " ".join(json.loads((tmp_path / "out/benchmark.json").read_text())["cautions"])


def measure_twice(content: Any) -> None:
    content["splits"]["test"]["patients"] = ["patient001"]


def train_on_measured(content: Any) -> None:
    content["training"]["patients"]["train"].append("patient003")


def choose_by_measured(content: Any) -> None:
    content["training"]["patients"]["val"] = ["patient003"]


def forget_training(content: Any) -> None:
    content["training"] = None


def change_units(content: Any) -> None:
    content["splits"]["test"]["units"] = {"distance": "pixels", "volume": "voxels"}


def damage(content: Any) -> None:
    del content["splits"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (measure_twice, "patient001: measured in more than one fold"),
        (train_on_measured, "fold_1: patient003 had a part in the training"),
        (choose_by_measured, "fold_1: patient003 had a part in the training"),
        (forget_training, "fold_1: it is not known which patients"),
        (change_units, "the folds are measured in different units"),
        (damage, r"metrics\.json cannot be read"),
    ],
)
def test_folds_that_make_no_fair_benchmark_are_refused(
    folders: list[Path], change: Callable[[Any], None], message: str
) -> None:
    path = folders[1] / "metrics.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=message):
        read_folds(folders)


def test_the_report_shows_a_benchmark_of_this_dataset_alone(reported: SmallDataset, raw: Path, tmp_path: Path) -> None:
    known = sha256_file(reported.data / "manifest.tsv")
    for name, manifest in (("own", known), ("other", "0" * 64)):
        write(write_metrics(tmp_path / name, FOLDS, manifest), tmp_path / name)
    results = tmp_path / "own/benchmark.json"
    page = Page(reported.report(raw, publish=False, benchmark_results=results))
    assert page.open == [] and "Dice of whole volumes without prompts" in page.text
    assert "3 patients, cross-validation over 2 folds" in page.text and "0.750" in page.text
    assert "own/benchmark.html" in page.text and "3 patients are few" in page.text

    manifest = reported.data / "manifest.tsv"
    assert benchmark_section(results, manifest) is not None
    assert benchmark_section(tmp_path / "other/benchmark.json", manifest) is None
    assert benchmark_section(tmp_path / "none.json", manifest) is None and benchmark_section(None, manifest) is None
    results.write_text("{}")
    with pytest.raises(DatasetError, match="delete it and run the benchmark again"):
        benchmark_section(results, manifest)
