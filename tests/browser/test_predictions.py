"""The page on predicted scans in a browser."""

from pathlib import Path

import numpy as np
import pytest

from beating_heart import beating_heart, single_frame, with_labels, write_predictions

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

from looked_at import look_at  # noqa: E402 - needs both of these


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a page on a cine, a cine without masks, single volumes, and a file that could not be used."""
    folder = tmp_path_factory.mktemp("predictions")
    empty = with_labels(np.zeros_like(beating_heart()[0].labels), name="empty_4d", subject="empty")
    scans = [beating_heart()[0], empty, single_frame("ED", 3), single_frame("ES", 11)]
    return write_predictions(folder, *scans, failed={"scan.nii.gz": "scan.nii.gz: the file is empty"})


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_the_page_works(browser: "sync_api.Browser", page: Path, width: int, scheme: str) -> None:
    assert look_at(browser, page, width, scheme) > 40


def test_a_link_leads_to_its_scan(browser: "sync_api.Browser", page: Path) -> None:
    with browser.new_context(viewport={"width": 390, "height": 500}) as context:
        shown = context.new_page()
        shown.goto(page.as_uri())
        shown.locator("table a").last.click()
        assert shown.evaluate("Math.abs(document.querySelector(location.hash).getBoundingClientRect().top)") < 5


def test_the_heart_beats_when_it_is_asked_to(browser: "sync_api.Browser", page: Path) -> None:
    with browser.new_context() as context:
        shown = context.new_page()
        shown.goto(page.as_uri())
        beat = shown.locator(".beat").first
        beat.scroll_into_view_if_needed()
        assert beat.locator(".still").is_visible() and not beat.locator(".moving").is_visible()
        beat.get_by_label("Play the beat").check()
        assert beat.locator(".moving").is_visible() and not beat.locator(".still").is_visible()
