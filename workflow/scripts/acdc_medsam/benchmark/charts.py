"""Charts of a benchmark: one dot per patient, and Bland-Altman plots."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import LABELS, PHASES, STRUCTURE_NAMES
from acdc_medsam.benchmark.statistics import Agreement, limits_of_agreement
from acdc_medsam.benchmark.summary import Line, find_line
from acdc_medsam.benchmark.tables import format_value
from acdc_medsam.report.drawing import LINE, STRUCTURES, TEXT, Chart
from acdc_medsam.report.elements import format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

SPREAD = 0.32
"""Width over which the dots of a column are spread, in columns."""


def draw_dots(name: str, title: str, values: Mapping[tuple[str, str], Sequence[float]], lines: Sequence[Line]) -> Chart:
    """Chart one dot per patient, in a column for each structure and phase, with the mean and its interval.

    Args:
        name: Name of the chart.
        title: Caption of the chart.
        values: Structure and phase -> value of each patient.
        lines: Structure and phase, mean and interval of each column, in the order of ``values``.
    """
    shown = {
        f"{structure} {phase}": [float(value) for value in column] for (structure, phase), column in values.items()
    }
    marks = [[line.mean, line.low, line.high] for line in lines]
    worst = min((min(column) for column in shown.values() if column), default=0.0)
    description = (
        "One dot per patient; the diamond is the mean, and the bar its 95 % bootstrap interval. The lowest value is "
        f"{format_number(worst)}."
    )
    return Chart(name, title, description, partial(_draw_dots, columns=shown, marks=marks), width=7.4, height=3.2)


def _draw_dots(axes: "Axes", columns: Mapping[str, Sequence[float]], marks: Sequence[Sequence[float | None]]) -> None:
    """Draw columns of dots, and the mean and interval (mean, low, high) of each."""
    for column, ((label, values), (mean, low, high)) in enumerate(zip(columns.items(), marks, strict=True)):
        # Dots side by side in the order of the values: a random spread would differ in each report.
        order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
        places = column - 0.08 + SPREAD * (order % 5 - 2) / 4
        axes.scatter(places, values, s=16, color=STRUCTURES[label.split()[0]], alpha=0.75, linewidths=0)
        if mean is None:
            continue
        axes.scatter([column + 0.3], [mean], s=26, color=TEXT, marker="D", linewidths=0, zorder=3)
        if low is not None and high is not None:
            axes.plot([column + 0.3] * 2, [low, high], color=TEXT, linewidth=1.6)

    axes.set_xticks(range(len(columns)), list(columns))
    axes.set(ylabel="Dice", xlim=(-0.5, len(columns) - 0.4))


def draw_bland_altman(
    name: str, structure: str, quantity: str, unit: str, pairs: Mapping[str, tuple[float, float]]
) -> Chart:
    """Chart the difference of two measurements against their mean, with the bias and the limits of agreement.

    Args:
        name: Name of the chart.
        structure: RV, MYO or LV.
        quantity: What was measured, in words.
        unit: Unit of it.
        pairs: Patient -> predicted and true value.
    """
    values = np.array(list(pairs.values()), dtype=np.float64).reshape(-1, 2)
    agreement = limits_of_agreement((values[:, 0] - values[:, 1]).tolist())
    return Chart(
        name,
        f"{quantity}, {STRUCTURE_NAMES[structure]}",
        _describe_agreement(agreement, unit, len(values)),
        partial(_draw_bland_altman, values=values, structure=structure, agreement=vars(agreement), unit=unit),
    )


def _describe_agreement(agreement: Agreement, unit: str, patients: int) -> str:
    if agreement.bias is None:
        return "No patient has both phases."
    # Differences of percentages are no percentages.
    unit = "percentage points" if unit == "%" else unit
    bias, low, high = (format_value(value, 1) for value in vars(agreement).values())
    if agreement.lower_limit is None:
        return f"Bias {bias} {unit}, of {patients} patient: limits of agreement need two."
    return f"Bias {bias} {unit} (solid), 95 % limits of agreement {low} to {high} (dashed), {patients} patients."


def _draw_bland_altman(
    axes: "Axes", values: Floats, structure: str, agreement: Mapping[str, float | None], unit: str
) -> None:
    """Draw the differences of predicted and true values (n, 2) against their means."""
    predicted, true = values.T
    axes.axhline(0, color=LINE, linewidth=1)
    axes.scatter((predicted + true) / 2, predicted - true, s=18, color=STRUCTURES[structure], linewidths=0)
    for key, style in (("bias", "-"), ("lower_limit", "--"), ("upper_limit", "--")):
        level = agreement[key]
        if level is not None:
            axes.axhline(level, color=TEXT, linewidth=1, linestyle=style)
    axes.set(xlabel=f"mean of both, {unit}", ylabel="predicted minus true")


def mean_lines(lines: Sequence[Line], way: str, measure: str) -> list[Line]:
    """Return the lines of a measure for each structure and phase, in the order of the columns of :func:`draw_dots`."""
    return [find_line(lines, way, structure, phase, measure) for structure in LABELS for phase in PHASES]
