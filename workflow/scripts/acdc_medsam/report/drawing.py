"""Charts as SVG elements of the page: small, in the colors and the font of the page, the same bytes in every run.

Matplotlib is imported where a chart is drawn, because a report that shows only charts of an earlier one does without.
"""

import io
import re
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from acdc_medsam.report.pieces import Pieces, digest

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


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        name: Name that no other chart of the page has. The ids in the SVG begin with it.
        caption: Caption of the chart.
        description: What the chart shows, in words, also for readers who cannot see it.
        draw: Function that draws into the axes that it is given, with everything that it shows as its arguments.
        height: Height in inches.
        width: Width in inches.
    """

    name: str
    caption: str
    description: str
    draw: "partial[None]"
    height: float = HEIGHT
    width: float = WIDTH

    @cached_property
    def svg(self) -> str:
        """The drawing as an SVG element."""
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(self.width, self.height))
            FigureCanvasSVG(figure)
            self.draw(figure.add_subplot())

            # To lay out a figure while it is saved, Matplotlib would draw it twice.
            ConstrainedLayoutEngine().execute(figure)
            buffer = io.StringIO()
            # Without the date and the version of Matplotlib, equal inputs give equal bytes.
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return _embed(buffer.getvalue(), self.name)


def draw_chart(chart: Chart, pieces: Pieces) -> str:
    """Return the SVG element of a chart, from an earlier report if that one showed the same.

    Args:
        chart: The chart.
        pieces: What earlier reports drew.
    """
    shown = (chart.name, chart.height, chart.width, chart.draw.func.__qualname__, chart.draw.args, chart.draw.keywords)
    return pieces.look_up(digest("chart", *shown), lambda: {"svg": chart.svg})["svg"]


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
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
