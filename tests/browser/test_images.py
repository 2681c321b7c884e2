"""The dataset's PNG files in a browser."""

import base64
from typing import Any

import numpy as np
import pytest

from acdc_medsam.formats.png import RowFilter, encode_png

READ_PIXELS = """async url => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    return Array.from(context.getImageData(0, 0, image.width, image.height).data);
}"""


@pytest.mark.parametrize("row_filter", RowFilter)
def test_chromium_sees_the_same_pixels(browser: Any, row_filter: RowFilter) -> None:
    pixels = (np.add.outer(np.arange(60), 2 * np.arange(300)) % 256).astype(np.uint8)
    url = "data:image/png;base64," + base64.b64encode(encode_png(pixels, row_filter)).decode()
    with browser.new_context() as context:
        seen = context.new_page().evaluate(READ_PIXELS, url)
    red, green, blue, opacity = np.array(seen, np.uint8).reshape(*pixels.shape, 4).transpose(2, 0, 1)
    for channel in (red, green, blue):
        np.testing.assert_array_equal(channel, pixels)
    assert (opacity == 255).all()
