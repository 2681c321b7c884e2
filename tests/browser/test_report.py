"""The report in a browser: wide and narrow, light and dark, printed, and operated by keyboard."""

import importlib
from pathlib import Path

import pytest

from acdc_medsam.phantom.cohort import write_cohort
from pages import ROOT
from small_dataset import SmallDataset

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

from looked_at import look_at  # noqa: E402 - needs both of these


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on phantoms of all groups, split by slice, so that it shows warnings and near-duplicates."""
    folder = tmp_path_factory.mktemp("browser")
    write_cohort(folder / "raw", patients=5, testing=1, in_plane=(64, 56), depth=5)
    dataset = SmallDataset(folder)
    dataset.make(folder / "raw")
    dataset.report(folder / "raw", unit="slice")
    return dataset.data / "report.html"


@pytest.fixture(scope="module", params=["phantoms", "real"])
def report(request: pytest.FixtureRequest) -> Path:
    """Path of the report."""
    made = request.getfixturevalue(request.param)
    return made if isinstance(made, Path) else made[0].data / "report.html"


def test_the_pictures_of_the_tutorial_can_be_taken(browser: "sync_api.Browser", phantoms: Path, tmp_path: Path) -> None:
    importlib.import_module("draw_report").take_pictures(browser, phantoms, tmp_path)
    taken = {path.name for path in tmp_path.iterdir()}
    assert taken == {path.name for path in (ROOT / "docs/pictures").iterdir()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_works(browser: "sync_api.Browser", report: Path, width: int, scheme: str) -> None:
    assert look_at(browser, report, width, scheme) > 50


def test_the_first_key_skips_the_links(browser: "sync_api.Browser", phantoms: Path) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(phantoms.as_uri())
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.url.endswith("#content")


def test_the_outlines_can_be_hidden(browser: "sync_api.Browser", phantoms: Path) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(phantoms.as_uri())
        outlines = page.locator(".outlines").first
        assert outlines.is_visible()
        page.get_by_label("Show the outlines of the masks").uncheck()
        assert not outlines.is_visible()


def test_it_prints_dark_on_white(browser: "sync_api.Browser", phantoms: Path) -> None:
    with browser.new_context(color_scheme="dark") as context:
        page = context.new_page()
        page.goto(phantoms.as_uri())
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert page.pdf().startswith(b"%PDF")
