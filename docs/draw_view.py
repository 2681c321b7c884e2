"""Take the picture of the viewer: a slice of the demo's dataset with the answer to a box, as Chromium shows it.

Run ``make demo`` first, so that there is a dataset.
"""

import io
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

DATASET = Path(__file__).parents[1] / "demo/out/data/ACDC"
PICTURE = Path(__file__).with_name("view.webp")
BOX = (0.355, 0.43, 0.59, 0.60)
"""Two corners of the box as shares of the picture's side."""


def take_picture(browser: Browser, address: str, path: Path) -> None:
    """Draw a box for the left ventricle on the first slice that is shown, and write what the page then shows as WebP.

    Args:
        browser: Chromium.
        address: Address of the viewer.
        path: The picture.
    """
    page = browser.new_page(viewport={"width": 1100, "height": 760}, color_scheme="light")
    page.goto(address)
    page.get_by_text("base to apex").wait_for()
    frame = page.get_by_role("img").bounding_box()
    if frame is None:
        raise ValueError("the page shows no slice")
    corners = [frame["xy"[index % 2]] + share * frame["width"] for index, share in enumerate(BOX)]
    page.keyboard.press("3")
    page.mouse.move(*corners[:2])
    page.mouse.down()
    page.mouse.move(*corners[2:])
    page.mouse.up()
    page.get_by_role("status").filter(has_text="Dice").wait_for()
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=70, method=6)
    page.close()


if __name__ == "__main__":
    command = [sys.executable, "-m", "acdc_medsam", "view", str(DATASET), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as viewer, sync_playwright() as playwright:  # noqa: S603
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            assert viewer.stdout is not None  # noqa: S101 - it is a pipe
            take_picture(chromium, viewer.stdout.readline().strip(), PICTURE)
        finally:
            chromium.close()
            viewer.send_signal(signal.SIGINT)
