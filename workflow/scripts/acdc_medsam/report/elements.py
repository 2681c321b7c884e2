"""What sections are made of, for the template to lay out: tables and charts; and how numbers are written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """A table: caption, heads and rows of cells; the first cell of a row is its head, ``text_columns`` hold words."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


@dataclass(frozen=True)
class Chart:
    """A drawing: caption, what it shows in words for those who do not see it, and the SVG."""

    caption: str
    description: str
    svg: Markup


def format_count(number: float) -> str:
    """Write a count: ``1,841``."""
    return f"{number:,.0f}"


def format_number(number: float, digits: int = 3) -> str:
    """Write a measurement to some significant figures, without an exponent or zeros behind: ``0.0123``, ``1,230``."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(number)))
    text = f"{round(number, decimals):,.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_percent(share: float) -> str:
    """Write a share: ``12.3 %``."""
    return f"{100 * share:.1f} %"


def format_bytes(bytes_: float) -> str:
    """Write a number of bytes: ``7.7 GB``."""
    for unit in ("bytes", "kB", "MB"):
        if bytes_ < 1000:
            return f"{format_number(bytes_)} {unit}"
        bytes_ /= 1000
    return f"{format_number(bytes_)} GB"


def format_seconds(seconds: float) -> str:
    """Write a time: ``0.44 s``, ``12 min 3 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{format_number(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def list_first(words: Sequence[str], shown: int = 10) -> str:
    """Write words in a row, the first few and how many more."""
    rest = len(words) - shown
    return ", ".join(words[:shown]) + (f" and {rest} more" if rest > 0 else "")
