"""A page in a browser: it loads nothing, fits into the window, and can be used by everyone."""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page


def look_at(browser: Browser, path: Path, width: int, scheme: str) -> int:
    """Open a page and everything that it hides, and check it.

    Args:
        browser: The browser.
        path: The page.
        width: Width of the window in pixels.
        scheme: ``light`` or ``dark``.

    Returns:
        The number of pictures on the page.
    """
    messages = list[str]()
    requests = list[str]()
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        # Those that are loaded when they come into view would be waited for in vain.
        page.evaluate("[...document.images].forEach(image => image.loading = 'eager')")
        page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
        assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
        pictures: int = page.evaluate("document.images.length")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        require_access(page)
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    return pictures


def require_access(page: Page) -> None:
    """Have axe check that everyone can use a page. It reports violations alone: a full report takes twice as long."""
    results = Axe().run(page, options={"resultTypes": ["violations"]})
    assert results.violations_count == 0, results.generate_report()
