"""Pictures of a segmented scan: slices from base to apex at end-diastole and end-systole, and the beating heart."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from acdc_medsam.formats.png import Gray
from acdc_medsam.measures.outlines import draw_outlines
from acdc_medsam.predict.framing import Window, cut
from acdc_medsam.predict.scan import Segmented

SIDE = 192
"""Side of a picture in pixels."""

QUALITY = 60
"""Quality of WebP pictures, 0 to 100."""

ANIMATION = "beat.webp"
"""Name of the animation of a cine."""

SHOWN_SECONDS = 1.0
"""Duration of a beat in the animation of a cine whose time between frames is unknown."""


def picture_name(phase: str, index: int) -> str:
    """Return the name of the picture of a slice: ``contours_ED_3.webp``; ``phase`` is empty for the only frame."""
    return f"contours_{phase or 'frame'}_{index}.webp"


def draw_scan(segmented: Segmented, description: Mapping[str, Any]) -> dict[str, bytes]:
    """Draw the pictures of a scan.

    The outlines are in the description, and the page draws them over the slices, so that they can be hidden. Only the
    animation shows them itself.

    Args:
        segmented: The scan and its masks.
        description: What describes it, see :func:`acdc_medsam.predict.description.describe_scan`.

    Returns:
        Name of a file -> its content, WebP.
    """
    shown = description["pictures"]
    window = tuple(shown["window"])
    images = segmented.scan.images
    drawn = {
        picture_name(phase, one["index"]): _encode([draw_slice(images[of_phase["frame"], one["index"]], window)])
        for phase, of_phase in shown["frames"].items()
        for one in of_phase["slices"]
    }
    if len(images) > 1:
        drawn[ANIMATION] = draw_beat(segmented, window, shown["middle"], description["frame_seconds"])
    return drawn


def draw_slice(image: Gray, window: Window) -> Image.Image:
    """Draw the part of a slice (H, W) within a window."""
    return Image.fromarray(cut(image, window)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def draw_beat(segmented: Segmented, window: Window, index: int, frame_seconds: float | None) -> bytes:
    """Draw a slice in all frames with its outlines as an animated WebP, which repeats.

    Args:
        segmented: The scan and its masks.
        window: The part of the slice that is shown.
        index: Index of the slice.
        frame_seconds: Time between two frames; None if it is unknown.
    """
    pictures = []
    for image, labels in zip(segmented.scan.images[:, index], segmented.labels[:, index], strict=True):
        picture = draw_slice(image, window).convert("RGB")
        draw_outlines(picture, cut(labels, window))
        pictures.append(picture)
    return _encode(pictures, frame_seconds or SHOWN_SECONDS / len(pictures))


def _encode(pictures: list[Image.Image], seconds: float = 0.0) -> bytes:
    """Encode a picture, or several as an animation in which each is shown for some seconds."""
    buffer = io.BytesIO()
    animation = {"save_all": True, "append_images": pictures[1:], "duration": round(1000 * seconds), "loop": 0}
    pictures[0].save(buffer, "webp", quality=QUALITY, method=4, **(animation if len(pictures) > 1 else {}))
    return buffer.getvalue()
