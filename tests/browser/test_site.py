"""The documentation site in a browser: it needs no internet, fits a phone, and shows what is generated."""

import subprocess
import sys
from pathlib import Path

import pytest

import generate
from acdc_medsam.config import load_schema
from pages import ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("sphinx", reason="sphinx is not installed; `make docs` installs it")
pytest.importorskip("furo", reason="furo is not installed; `make docs` installs it")

PAGE = """# A page

```sh
make demo
```

<!-- generated: configuration -->

<!-- generated: room data -->
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of one page, with the settings of the real one, which takes long to build."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "source").mkdir()
    (folder / "source/index.md").write_text(PAGE)
    # References to rooms that this page does not describe lead nowhere, so they are not looked for.
    options = ["--conf-dir", str(ROOT / "docs"), "--fail-on-warning", "--define", "nitpicky=0", "--quiet"]
    command = [sys.executable, "-m", "sphinx", *options, str(folder / "source"), str(folder / "build")]
    subprocess.run(command, check=True)
    return folder / "build/index.html"


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_works_without_the_internet(browser: "sync_api.Browser", site: Path, width: int) -> None:
    requests = list[str]()
    messages = list[str]()
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(site.as_uri())

    assert [url for url in requests if not url.startswith(site.parent.as_uri())] == []
    assert messages == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # The page adds its buttons a moment after it was loaded.
    page.locator("button.copybtn").first.wait_for(state="attached")
    page.close()


def test_the_page_shows_what_is_generated(browser: "sync_api.Browser", site: Path) -> None:
    page = browser.new_page()
    page.goto(site.as_uri())
    keys = page.locator("td:first-child code").all_inner_texts()
    properties = load_schema(generate.SCHEMA)["properties"]
    assert {name for name, part in properties.items() if "properties" not in part} <= {*keys}
    assert {f"encoder.{name}" for name in properties["encoder"]["properties"]} <= {*keys}

    text = page.locator("article").inner_text()
    assert "class SliceDataset" in text and "<!--" not in text and "\ufe13" not in text
    # Napoleon must not take the beginning of a sentence for a type.
    assert "Return type" not in text and "The first and last column and row (x0, y0, x1, y1) in pixels: (4,)" in text
    page.close()
