"""Section "intensities": histograms on the way from raw to PNG, clip levels, outliers, and what 8 bits cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from acdc_medsam.measures.records import BINS, Counts, Floats
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.drawing import LINE, SERIES, TEXT, draw_chart
from acdc_medsam.report.elements import Chart, Table, format_number, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTLIER = 3.5
"""Modified z-score from which a value is an outlier: B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers",
ASQC Quality Press, 1993."""

LEAST = 1e-6
"""Share of voxels at the foot of the charts."""

NAMED = 5
"""Outliers that a chart names; the table names all."""


@dataclass(frozen=True)
class Intensities:
    """Charts, outliers in words and their volumes, the table of all volumes, and what quantization cost, in words."""

    charts: Sequence[Chart]
    outliers: Sequence[str]
    outlying: Sequence[str]
    volumes: Table
    quantization: str


def modified_z_scores(values: Floats) -> Floats:
    """(v,) distance of each value from the median, in standard deviations estimated from the median distance.

    Where more than half of the values are equal there is no such measure, and every score is 0.
    """
    distance = values - np.median(values)
    spread = np.median(np.abs(distance))
    return np.zeros_like(values) if spread == 0 else 0.6745 * distance / spread


def find_outliers(volumes: Sequence[str], quantities: dict[str, Floats]) -> dict[str, dict[int, float]]:
    """For each quantity, all positive: place of each outlier among the volumes -> its modified z-score.

    Scores are of the logarithm, because intensities of different scanners differ by a factor.
    """
    found = {}
    for name, values in quantities.items():
        scores = modified_z_scores(np.log(values))
        places = sorted(np.flatnonzero(np.abs(scores) > OUTLIER).tolist(), key=lambda place: -abs(scores[place]))
        found[name] = {place: float(scores[place]) for place in places}
    return found


def intensities_section(contents: Contents) -> Intensities:
    """Put together the section."""
    measures = contents.measures
    volumes = measures.volumes.tolist()
    clip = measures.clip_levels - measures.raw_minima
    mean = measures.clipped_histograms @ (np.arange(BINS) + 0.5) / BINS / measures.clipped_histograms.sum(1)
    quantities = {
        "clip level": clip,
        "largest raw intensity over the clip level": (measures.raw_maxima - measures.raw_minima) / clip,
        "mean after clipping": mean,
    }
    outliers = find_outliers(volumes, quantities)
    words = [
        f"{volumes[place]}: {name} is {format_number(float(quantities[name][place]))}, "
        f"{format_number(abs(score), 2)} robust deviations {'above' if score > 0 else 'below'} "
        f"the median of {format_number(float(np.median(quantities[name])))}"
        for name, places in outliers.items()
        for place, score in places.items()
    ]
    marked = sorted({place for places in outliers.values() for place in places})
    charts = [*draw_histograms(contents, marked), draw_clip_levels(contents, clip, list(outliers["clip level"]))]
    outlying = [volumes[place] for place in marked]
    return Intensities(charts, words, outlying, list_volumes(contents, quantities), describe_quantization(contents))


def list_volumes(contents: Contents, quantities: dict[str, Floats]) -> Table:
    """Every volume with its raw range, clip level and brightness."""
    measures, rows = contents.measures, []
    ratio, mean = list(quantities.values())[1:]
    for place, volume in enumerate(measures.volumes.tolist()):
        raw = (measures.raw_minima[place], measures.clip_levels[place], measures.raw_maxima[place])
        rows.append(
            [
                volume,
                *(format_number(value, 4) for value in raw),
                format_number(ratio[place]),
                format_percent(mean[place]),
            ]
        )
    heads = ("Volume", "raw minimum", "clip level", "raw maximum", "maximum / clip level", "mean after clipping")
    return Table("Each volume's raw intensities, and its mean after clipping and scaling.", heads, rows)


def describe_quantization(contents: Contents) -> str:
    """Say what rounding to 256 gray values cost."""
    measures = contents.measures
    largest, mean = measures.quantization_max.max(), measures.quantization_mean.mean()
    worst = measures.slices[measures.quantization_max.argmax()]
    whole_steps = int(np.count_nonzero(measures.clip_levels - measures.raw_minima <= 255))
    return (
        f"Rounding to 256 gray values moved a pixel by {format_number(255 * mean)} gray values on average and by "
        f"{format_number(255 * largest)} at most ({worst}): {format_number(100 * mean)} % and "
        f"{format_number(100 * largest)} % of the range. Half a gray value is the bound. "
        f"In {whole_steps} of {len(measures.volumes)} volumes the clip level is "
        "at most 255 above the minimum, so that raw whole numbers keep a gray value each; in the others neighbours "
        "share one."
    )


def shares(histograms: Counts) -> Floats:
    """(v, bins) each volume's histogram as shares of its voxels."""
    divided: Floats = histograms / histograms.sum(1, keepdims=True)
    return divided


def draw_histograms(contents: Contents, marked: Sequence[int]) -> list[Chart]:
    """Draw the histograms before clipping, after clipping and in the PNG: median and spread over the volumes.

    Args:
        contents: the dataset.
        marked: places of volumes that get a line of their own.
    """
    measures = contents.measures
    kinds = {
        "before": ("Before clipping", "raw intensity, in clip levels", measures.raw_histograms),
        "after": ("After clipping and scaling", "value in the H5 volume", measures.clipped_histograms),
        "png": ("In the PNG images", "gray value / 255", measures.png_histograms),
    }
    charts = []
    for name, (title, label, counts) in kinds.items():
        values, x = shares(counts), (np.arange(counts.shape[1]) + 0.5) / BINS

        def draw(axes: "Axes", values: Floats = values, x: Floats = x, label: str = label) -> None:
            axes.set_yscale("log")
            low, middle, high = np.maximum(np.quantile(values, (0.05, 0.5, 0.95), axis=0), LEAST)
            axes.fill_between(x, low, high, color=SERIES[0], alpha=0.3, linewidth=0)
            for place in marked[:NAMED]:
                axes.plot(x, np.maximum(values[place], LEAST), color=SERIES[1], linewidth=0.7, alpha=0.8)
            axes.plot(x, middle, color=SERIES[0], linewidth=1.4)
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
            if len(x) > BINS:
                axes.axvline(1, color=TEXT, linewidth=0.8, linestyle="--")
            axes.set(ylim=(LEAST, 1), xlim=(0, len(x) / BINS), xlabel=label, ylabel="share of voxels")

        description = (
            "Share of voxels per bin on a logarithmic scale: median over the volumes, the range of the middle 90 % "
            "shaded" + (", outliers as thin lines" if marked else "") + "."
        )
        if name == "before":
            beyond = shares(counts)[:, BINS:].sum(1)
            description += (
                f" {format_percent(float(np.median(beyond)))} of the voxels lie above the clip level, dashed."
            )
        charts.append(draw_chart(f"histogram-{name}", title, description, draw))
    return charts


def draw_clip_levels(contents: Contents, clip: Floats, outliers: Sequence[int]) -> Chart:
    """Draw the clip level of each volume, outliers named."""
    volumes = contents.measures.volumes.tolist()
    number = np.array([int(volume[len("patient") : volume.index("_")]) for volume in volumes])

    def draw(axes: "Axes") -> None:
        axes.scatter(number, clip, s=14, color=SERIES[0], alpha=0.7, linewidths=0)
        axes.axhline(float(np.median(clip)), color=LINE, linewidth=1)
        for place in outliers[:NAMED]:
            axes.scatter(number[place], clip[place], s=22, color=SERIES[1], linewidths=0)
            axes.annotate(
                volumes[place].replace("patient", ""),
                (number[place], clip[place]),
                (4, 3),
                fontsize=8,
                textcoords="offset points",
            )
        axes.set(xlabel="number of the patient", ylabel="clip level", yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_minor_locator(NullLocator())

    return draw_chart(
        "clip-levels",
        "Clip level of each volume",
        f"From {format_number(clip.min())} to {format_number(clip.max())}, "
        f"median {format_number(float(np.median(clip)))}; "
        f"{len(outliers) or 'no'} outliers.",
        draw,
    )
