"""The chart of a cine: volumes over a heart beat."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from acdc_medsam.acdc.labels import LABELS, STRUCTURE_NAMES
from acdc_medsam.report.drawing import LINE, STRUCTURES, TEXT, Chart
from acdc_medsam.report.elements import format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def chart_volumes(name: str, description: Mapping[str, Any]) -> Chart:
    """Chart the volumes of a cine over time, or over frames where their times are unknown.

    Args:
        name: Name of the chart.
        description: What describes the scan, see :func:`acdc_medsam.predict.description.describe_scan`.
    """
    frames = description["frames"]
    curves = {structure: [frame[f"{structure.lower()}_ml"] for frame in frames] for structure in LABELS}
    timed = description["frame_seconds"] is not None
    times = [1000 * frame["seconds"] if timed else frame["frame"] for frame in frames]
    marks = {phase: times[index] for phase, index in description["phases"].items()}

    largest, smallest = (format_number(end(curves["LV"])) for end in (max, min))
    found = ", ".join(f"{phase} in frame {index + 1}" for phase, index in description["phases"].items())
    words = (
        f"{len(frames)} frames. {found or 'No phase was found'}. The left ventricle has {smallest} to {largest} ml; "
        "its line is smoothed, the dots are not."
    )
    arguments = {"times": times, "curves": curves, "smoothed": description["smoothed"], "marks": marks, "timed": timed}
    return Chart(name, "Volumes over the beat", words, partial(_draw_volumes, **arguments))


def _draw_volumes(
    axes: "Axes",
    times: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    smoothed: Sequence[float],
    marks: Mapping[str, float],
    timed: bool,
) -> None:
    """Draw the curve of each structure, the smoothed left ventricle, and a line at each phase."""
    for phase, time in marks.items():
        axes.axvline(time, color=LINE, linewidth=1)
        axes.annotate(phase, (time, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", color=TEXT)
    for structure, curve in curves.items():
        color = STRUCTURES[structure]
        axes.plot(times, curve, color=color, linewidth=0, marker="o", markersize=3)
        axes.plot(times, smoothed if structure == "LV" else curve, color=color, linewidth=1, label=structure)
    axes.set(xlabel="ms" if timed else "frame", ylabel="ml")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=len(STRUCTURE_NAMES))
