"""Section "intensities": histograms from raw images to PNG, clip levels, outliers, and the error of 8 bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.naming import patient_number
from acdc_medsam.measures.records import BINS, Counts, Floats
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.drawing import LINE, SERIES, TEXT, Chart
from acdc_medsam.report.elements import Table, format_number, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTLIER = 3.5
"""Modified z-score above which a value is an outlier: B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers",
ASQC Quality Press, 1993."""

CLIP_LEVEL = "clip level"
"""Quantity of a volume: its clip level above its smallest raw intensity."""

LEAST = 1e-6
"""Smallest share of voxels that the logarithmic axis of the charts shows."""

NAMED = 5
"""Number of outliers that a chart marks. The text lists all of them."""


@dataclass(frozen=True)
class Intensities:
    """What the section shows.

    Attributes:
        charts: Histograms and clip levels.
        outliers: The outliers in words.
        outlying: Names of the volumes that have outliers.
        volumes: Table of all volumes.
        quantization: Error of rounding to 8 bits, in words.
    """

    charts: Sequence[Chart]
    outliers: Sequence[str]
    outlying: Sequence[str]
    volumes: Table
    quantization: str


def modified_z_scores(values: Floats) -> Floats:
    """Compute the distances from the median, in standard deviations estimated from the median absolute deviation.

    Args:
        values: (v,) values.

    Returns:
        (v,) scores. If more than half of the values are equal, no deviation can be estimated, and all scores are 0.
    """
    distances = values - np.median(values)
    deviation = np.median(np.abs(distances))
    if deviation == 0:
        return np.zeros_like(values)
    scores: Floats = 0.6745 * distances / deviation
    return scores


def find_outliers(quantities: dict[str, Floats]) -> dict[str, dict[int, float]]:
    """Find the volumes whose quantities are outliers.

    Scores are computed on logarithms, because intensities of different scanners differ by a factor.

    Args:
        quantities: Name of a quantity -> (v,) its positive value in each volume.

    Returns:
        Name of the quantity -> index of the volume -> its modified z-score, largest distance first.
    """
    found = {}
    for name, values in quantities.items():
        scores = modified_z_scores(np.log(values)).tolist()
        indices = [index for index, score in enumerate(scores) if abs(score) > OUTLIER]
        found[name] = {index: scores[index] for index in sorted(indices, key=lambda index: -abs(scores[index]))}
    return found


def intensities_section(contents: Contents) -> Intensities:
    """Compute the contents of the section. Without raw intensities, only those in [0, 1] are described."""
    measures = contents.measures
    # Mean of each histogram, in which every voxel is at the center of its bin.
    mean = measures.clipped_histograms @ (np.arange(BINS) + 0.5) / BINS / measures.clipped_histograms.sum(1)
    quantities = {"mean after clipping": mean}
    if contents.has_raw:
        clip = measures.clip_levels - measures.raw_minima
        ratio = (measures.raw_maxima - measures.raw_minima) / clip
        quantities = {CLIP_LEVEL: clip, "largest raw intensity over the clip level": ratio} | quantities
    outliers = find_outliers(quantities)
    outlying = sorted({index for scores in outliers.values() for index in scores})

    charts = draw_histograms(contents, outlying)
    if contents.has_raw:
        charts.append(draw_clip_levels(contents, quantities[CLIP_LEVEL], list(outliers[CLIP_LEVEL])))
    return Intensities(
        charts=charts,
        outliers=describe_outliers(measures.volumes.tolist(), quantities, outliers),
        outlying=measures.volumes[outlying].tolist(),
        volumes=list_volumes(contents, quantities),
        quantization=describe_quantization(contents),
    )


def describe_outliers(
    volumes: Sequence[str], quantities: dict[str, Floats], outliers: dict[str, dict[int, float]]
) -> list[str]:
    """Say of each outlier how far from the median it is; see :func:`find_outliers` for the arguments."""
    lines = []
    for name, scores in outliers.items():
        median = format_number(float(np.median(quantities[name])))
        for index, score in scores.items():
            value = format_number(float(quantities[name][index]))
            side = "above" if score > 0 else "below"
            distance = f"{format_number(abs(score), 2)} robust deviations {side} the median of {median}"
            lines.append(f"{volumes[index]}: {name} is {value}, {distance}")
    return lines


def list_volumes(contents: Contents, quantities: dict[str, Floats]) -> Table:
    """List the mean of each volume and, if they are known, its raw intensities and clip level."""
    measures = contents.measures
    *raw_quantities, mean = quantities.values()
    heads = ["Volume"]
    columns = [measures.volumes.tolist()]
    if contents.has_raw:
        heads += ["raw minimum", "clip level", "raw maximum", "maximum / clip level"]
        for values in (measures.raw_minima, measures.clip_levels, measures.raw_maxima):
            columns.append([format_number(value, 4) for value in values])
        columns.append([format_number(value) for value in raw_quantities[1]])
    heads.append("mean after clipping")
    columns.append([format_percent(value) for value in mean])
    what = "raw intensities, and its mean" if contents.has_raw else "mean"
    return Table(f"Each volume's {what} after clipping and scaling.", heads, list(zip(*columns, strict=True)))


def describe_quantization(contents: Contents) -> str:
    """Describe the error of rounding to 256 gray values."""
    measures = contents.measures
    largest = measures.quantization_max.max()
    mean = measures.quantization_mean.mean()
    worst = measures.slices[measures.quantization_max.argmax()]
    text = (
        f"Rounding to 256 gray values moved a pixel by {format_number(255 * mean)} gray values on average and by "
        f"{format_number(255 * largest)} at most ({worst}): {format_number(100 * mean)} % and "
        f"{format_number(100 * largest)} % of the range. Half a gray value is the upper bound."
    )
    if contents.has_raw:
        whole_steps = int(np.count_nonzero(measures.clip_levels - measures.raw_minima <= 255))
        text += (
            f" In {whole_steps} of {len(measures.volumes)} volumes the clip level is "
            "at most 255 above the minimum, so that each raw integer has a gray value of its own; in the others, "
            "neighboring integers share one."
        )
    return text


def to_shares(histograms: Counts) -> Floats:
    """Convert the histograms (v, bins) of volumes from voxels to shares of the voxels of the volume."""
    divided: Floats = histograms / histograms.sum(1, keepdims=True)
    return divided


def draw_histograms(contents: Contents, marked: Sequence[int]) -> list[Chart]:
    """Chart the histograms before clipping, after clipping and in the PNG: median and spread over the volumes.

    Args:
        contents: The dataset.
        marked: Indices of the volumes that get a line of their own.

    Returns:
        One chart for each kind of histogram.
    """
    measures = contents.measures
    before = ("Before clipping", "raw intensity, in clip levels", measures.raw_histograms)
    kinds = {
        **({"before": before} if contents.has_raw else {}),
        "after": ("After clipping and scaling", "value in the H5 volume", measures.clipped_histograms),
        "png": ("In the PNG images", "gray value / 255", measures.png_histograms),
    }
    charts = []
    for name, (title, label, counts) in kinds.items():
        shares = to_shares(counts)
        description = (
            "Share of voxels per bin on a logarithmic scale: median over the volumes, the range of the middle 90 % "
            "shaded" + (", outliers as thin lines" if marked else "") + "."
        )
        if name == "before":
            above = format_percent(float(np.median(shares[:, BINS:].sum(1))))
            description += f" {above} of the voxels lie above the clip level, dashed."
        # A logarithmic axis cannot show empty bins, so they are drawn at its lower end.
        quantiles = np.maximum(np.quantile(shares, (0.05, 0.5, 0.95), axis=0), LEAST)
        lines = np.maximum(shares[list(marked[:NAMED])], LEAST)
        draw = partial(_draw_histogram, quantiles=quantiles, lines=lines, label=label)
        charts.append(Chart(f"histogram-{name}", title, description, draw))
    return charts


def _draw_histogram(axes: "Axes", quantiles: Floats, lines: Floats, label: str) -> None:
    """Draw the median and the spread of the histograms of volumes, and those of the marked volumes as lines.

    Args:
        axes: Where to draw.
        quantiles: (3, bins) share of the voxels per bin: 5th percentile, median and 95th percentile over the volumes.
        lines: (k, bins) shares of the marked volumes.
        label: Label of the horizontal axis.
    """
    from matplotlib.ticker import NullLocator

    low, middle, high = quantiles
    bins = len(middle)
    x = (np.arange(bins) + 0.5) / BINS

    axes.set_yscale("log")
    axes.fill_between(x, low, high, color=SERIES[0], alpha=0.3, linewidth=0)
    for line in lines:
        axes.plot(x, line, color=SERIES[1], linewidth=0.7, alpha=0.8)
    axes.plot(x, middle, color=SERIES[0], linewidth=1.4)

    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    # Only the histogram before clipping extends beyond the clip level.
    if bins > BINS:
        axes.axvline(1, color=TEXT, linewidth=0.8, linestyle="--")
    axes.set(ylim=(LEAST, 1), xlim=(0, bins / BINS), xlabel=label, ylabel="share of voxels")


def draw_clip_levels(contents: Contents, clip: Floats, outliers: Sequence[int]) -> Chart:
    """Chart the clip level of each volume, and name the outliers, which are given by their indices."""
    volumes = contents.measures.volumes.tolist()
    number = np.array([patient_number(volume.split("_")[0]) for volume in volumes])
    named = {volumes[index].replace("patient", ""): (number[index], clip[index]) for index in outliers[:NAMED]}
    return Chart(
        "clip-levels",
        "Clip level of each volume",
        f"From {format_number(clip.min())} to {format_number(clip.max())}, "
        f"median {format_number(float(np.median(clip)))}; "
        f"{len(outliers) or 'no'} outliers.",
        partial(_draw_clip_levels, number=number, clip=clip, named=named),
    )


def _draw_clip_levels(
    axes: "Axes", number: npt.NDArray[np.int64], clip: Floats, named: Mapping[str, tuple[int, float]]
) -> None:
    """Draw the clip levels (v,) against the numbers (v,) of the patients, and name some of these points."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.scatter(number, clip, s=14, color=SERIES[0], alpha=0.7, linewidths=0)
    axes.axhline(float(np.median(clip)), color=LINE, linewidth=1)
    for name, point in named.items():
        axes.scatter(*point, s=22, color=SERIES[1], linewidths=0)
        axes.annotate(name, point, (4, 3), fontsize=8, textcoords="offset points")

    axes.set(xlabel="number of the patient", ylabel="clip level", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_locator(NullLocator())
