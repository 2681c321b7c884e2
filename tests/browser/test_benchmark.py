"""The page of a benchmark in a browser."""

from pathlib import Path

import pytest

from acdc_medsam.benchmark.run import write_benchmark
from benchmark_metrics import SETTINGS, write_metrics

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

from looked_at import look_at  # noqa: E402 - needs both of these

TEMPLATE = Path(__file__).parents[2] / "workflow/report/page/benchmark_page.html.j2"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a page on 15 patients in three folds."""
    folder = tmp_path_factory.mktemp("benchmark")
    names = [f"patient{number:03d}" for number in range(1, 16)]
    folds = [{name: 0.6 + 0.02 * index for index, name in enumerate(names) if index % 3 == fold} for fold in range(3)]
    write_benchmark(write_metrics(folder, folds), TEMPLATE, folder / "index.tsv", SETTINGS | {"folds": {"fold_0": 0}})
    return folder / "benchmark.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_works(browser: "sync_api.Browser", page: Path, width: int, scheme: str) -> None:
    assert look_at(browser, page, width, scheme) == 0
