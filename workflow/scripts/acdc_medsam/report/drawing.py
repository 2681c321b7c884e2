"""Charts as SVG inside the page: small, in the page's own colours and font, and the same bytes every time."""

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

TEXT, LINE = "#010203", "#010204"
SERIES = ("#010205", "#010206", "#010207", "#010208", "#010209")
STRUCTURES = {"RV": "#01020a", "MYO": "#01020b", "LV": "#01020c"}
_CSS = {
    TEXT: "currentColor",
    LINE: "var(--line)",
    **{colour: f"var(--series{number})" for number, colour in enumerate(SERIES)},
    **{colour: f"var(--{structure.lower()})" for structure, colour in STRUCTURES.items()},
}
"""Stand-ins for the page's colours, which differ between light and dark and which matplotlib does not know."""

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
    "svg.fonttype": "none",
    "svg.hashsalt": "acdc-medsam",
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

WIDTH, HEIGHT = 3.7, 2.6
"""Inches of a chart: as wide as a phone, so that its text keeps its size there."""


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
        name: unique in the page; it begins the names of the SVG's parts.
        caption: heads the chart.
        description: what there is to see, in words.
        draw: draws into the axes it is given.
        height: in inches.
        width: in inches.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Chart(caption, description, Markup(_embedded(buffer.getvalue(), name)))  # noqa: S704 - made here


def _embedded(svg: str, name: str) -> str:
    """Turn an SVG file into a part of the page: names of its own, the page's colours and font, no fixed size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    for stand_in, css in _CSS.items():
        svg = svg.replace(stand_in, css)
    return svg.replace("\n", " ")


def count_in_whole_numbers(axes: "Axes") -> None:
    """Let the vertical axis, which counts, have whole numbers alone."""
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
