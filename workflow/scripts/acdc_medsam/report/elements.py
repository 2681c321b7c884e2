"""The tables of sections, which the template lays out; and the formats of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: Caption of the table.
        columns: Heads of the columns.
        rows: Cells of each row. The first cell is the head of the row.
        text_columns: Number of columns, from the left, that contain text. All others contain numbers.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


def format_count(number: float) -> str:
    """Format a count: ``1,841``."""
    return f"{number:,.0f}"


def format_number(number: float, digits: int = 3) -> str:
    """Format a number to some significant digits, with neither exponent nor trailing zeros: ``0.0123``, ``1,230``."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    # A negative number of decimals rounds to tens, hundreds and so on.
    decimals = digits - 1 - math.floor(math.log10(abs(number)))
    text = f"{round(number, decimals):,.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_percent(share: float) -> str:
    """Format a share as a percentage: ``12.3 %``."""
    return f"{100 * share:.1f} %"


def format_bytes(bytes_: float) -> str:
    """Format a number of bytes: ``7.7 GB``."""
    for unit in ("bytes", "kB", "MB"):
        if bytes_ < 1000:
            return f"{format_number(bytes_)} {unit}"
        bytes_ /= 1000
    return f"{format_number(bytes_)} GB"


def format_seconds(seconds: float) -> str:
    """Format a duration: ``0.44 s``, ``12 min 3 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{format_number(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def list_first(words: Sequence[str], shown: int = 10) -> str:
    """List the first few words, separated by commas, and say how many more there are."""
    rest = len(words) - shown
    return ", ".join(words[:shown]) + (f" and {rest} more" if rest > 0 else "")
