"""Charts as SVG elements of the page: small, in the colors and the font of the page, the same bytes in every run."""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from acdc_medsam.report.elements import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEXT = "#010203"
LINE = "#010204"
SERIES = ("#010205", "#010206", "#010207", "#010208", "#010209")
STRUCTURES = {"RV": "#01020a", "MYO": "#01020b", "LV": "#01020c"}
"""Placeholders for the colors of text, lines, data series and structures.

The page has other colors in dark mode, so its style sheet defines them. Matplotlib does not know CSS variables, so
charts are drawn with colors that occur nowhere else, and each is replaced by its variable.
"""

_CSS = {
    TEXT: "currentColor",
    LINE: "var(--line)",
    **{color: f"var(--series{index})" for index, color in enumerate(SERIES)},
    **{color: f"var(--{structure.lower()})" for structure, color in STRUCTURES.items()},
}
"""Placeholder -> CSS color of the page."""

STYLE: dict[Any, Any] = {
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelcolor": TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.2,
    # Text stays text and takes the font of the page, and ids are the same in every run.
    "svg.fonttype": "none",
    "svg.hashsalt": "acdc-medsam",
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

WIDTH = 3.7
HEIGHT = 2.6
"""Size of a chart in inches. It is as wide as a phone, so that text is not scaled down there."""


def draw_chart(
    name: str,
    caption: str,
    description: str,
    draw: Callable[["Axes"], None],
    height: float = HEIGHT,
    width: float = WIDTH,
) -> Chart:
    """Draw a chart.

    Args:
        name: Name that no other chart of the page has. The ids in the SVG begin with it.
        caption: Caption of the chart.
        description: What the chart shows, in words.
        draw: Function that draws into the axes that it is given.
        height: Height in inches.
        width: Width in inches.

    Returns:
        The chart.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        # Without the date and the version of Matplotlib, equal inputs give equal bytes.
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Chart(caption, description, Markup(_embed(buffer.getvalue(), name)))  # noqa: S704 - made here


def _embed(svg: str, name: str) -> str:
    """Turn an SVG file into an element of the page: unique ids, the colors of the page, no fixed size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    for attribute in ("width", "height"):
        svg = re.sub(rf'(<svg[^>]*?) {attribute}="[^"]*"', r"\1", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    for placeholder, css in _CSS.items():
        svg = svg.replace(placeholder, css)
    return svg.replace("\n", " ")


def count_in_whole_numbers(axes: "Axes") -> None:
    """Restrict the ticks of the vertical axis, which counts something, to whole numbers."""
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
