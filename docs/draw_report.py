"""Take the pictures of the tutorial: sections of the report on the demo's dataset, as Chromium shows them.

Run ``make demo`` first, so that there is a report.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

REPORT = Path(__file__).parents[1] / "demo/out/data/ACDC/report.html"
PICTURES = Path(__file__).with_name("pictures")
SECTIONS = {"glance": 460, "checks": 745, "pictures": 835, "balance": 515, "embeddings": 1045}
"""Section of the report -> height in pixels at which its picture ends."""

WIDTH = 900


def take_pictures(browser: Browser, report: Path, folder: Path) -> None:
    """Write ``report_<section>.webp`` for each section.

    Args:
        browser: Chromium.
        report: The report page.
        folder: Folder for the pictures.
    """
    page = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="light")
    page.goto(report.as_uri())
    for section, height in SECTIONS.items():
        picture = page.locator(f"section[aria-labelledby={section}]").screenshot()
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        top = image.crop((0, 0, image.width, min(image.height, height)))
        top.save(folder / f"report_{section}.webp", quality=80, method=6)
    page.close()


if __name__ == "__main__":
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        take_pictures(chromium, REPORT, PICTURES)
        chromium.close()
