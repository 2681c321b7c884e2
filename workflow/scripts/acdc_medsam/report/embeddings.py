"""Section "embeddings": their figures per split, the drift between train and val, and near-duplicates across splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from acdc_medsam.measures.records import Floats
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.drawing import LINE, SERIES, TEXT, draw_chart
from acdc_medsam.report.elements import Chart, Table, format_count, format_number
from acdc_medsam.report.near_duplicates import (
    LEAST_ALIKE,
    Comparison,
    NearDuplicates,
    Similarities,
    between_phases,
    compare_slices,
    threshold_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWS, SEED = 500, 2026
"""Random splits that the drift is compared with."""

SIMILARITY_BINS = 80
"""Bins between -1 and 1 of the histograms of similarities."""


@dataclass(frozen=True)
class Drift:
    """How far the means of train and val lie apart, next to random splits.

    Attributes:
        distance: of train and val.
        random: 5th and 95th percentile of the distances of random splits.
        share: of the random splits, those that are at least as far apart.
    """

    distance: float
    random: tuple[float, float]
    share: float


@dataclass(frozen=True)
class Embeddings:
    """What the section shows.

    Attributes:
        figures: table per split.
        outside: number of slices that are not in train.
        drift: between train and val, in words, or None without val.
        compared: how slices were compared, in words.
        near_duplicates: pairs of slices across splits that are nearly the same.
        charts: drawings.
    """

    figures: Table
    outside: int
    drift: str | None
    compared: str
    near_duplicates: NearDuplicates
    charts: Sequence[Chart]


def drift_between(vectors: Floats, validation: Sequence[bool], units: Sequence[str]) -> Drift:
    """Compare the distance of the means of train and val with that of random splits of the same units.

    The distance is the root mean square over the channels of the difference of means, in standard deviations. Slices
    of one heart are alike, so that it would be large for any split by patient; therefore whole units change sides
    (permutation test: P. Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 3rd edition, 2005).

    Args:
        vectors: (n, channels) one per slice.
        validation: (n,) whether the slice is in val; both sides have some.
        units: (n,) what is split: patients, or slices.
    """
    scaled = (vectors - vectors.mean(0)) / np.maximum(vectors.std(0), np.finfo(float).tiny)
    names, unit = np.unique(np.asarray(units), return_inverse=True)
    sums, sizes = np.zeros((len(names), vectors.shape[1])), np.bincount(unit).astype(float)
    np.add.at(sums, unit, scaled)
    actual = np.zeros(len(names), bool)
    actual[unit[np.asarray(validation)]] = True
    random = np.random.default_rng(SEED)
    sides = np.array([actual, *(random.permutation(actual) for _ in range(DRAWS))])

    def means_of(chosen: Floats) -> Floats:
        means: Floats = chosen @ sums / (chosen @ sizes)[:, np.newaxis]
        return means

    distances = np.sqrt(np.mean((means_of(sides.astype(float)) - means_of((~sides).astype(float))) ** 2, axis=1))
    drawn = distances[1:]
    low, high = np.quantile(drawn, (0.05, 0.95)).tolist()
    return Drift(float(distances[0]), (low, high), float(np.mean(drawn >= distances[0] - 1e-12)))


def embeddings_section(contents: Contents) -> Embeddings:
    """Put together the section, for a dataset with embeddings."""
    regions = contents.measures.pooled
    pooled = contents.of_slices(regions.mean((2, 3), dtype=np.float64))
    similarities = Similarities(regions, contents.indices)
    threshold = threshold_of(between_phases(contents, similarities))
    comparison = compare_slices(contents, similarities, threshold)
    drift = describe_drift(contents, pooled)
    compared = (
        "Embeddings are compared by the cosine of their means in 4 x 4 regions, less the mean of the dataset. "
        f"Nearly the same means {format_number(threshold)} or more: as alike as nine in ten slices at end-diastole are "
        f"to the same slice at end-systole, and {LEAST_ALIKE} at least."
    )
    charts = [*draw_map(contents, pooled), draw_norms(contents), draw_similarities(comparison, threshold)]
    outside = sum(row["split"] != "train" for row in contents.rows)
    return Embeddings(figures_by_split(contents), outside, drift, compared, comparison.near_duplicates, charts)


def figures_by_split(contents: Contents) -> Table:
    """Mean, standard deviation and norm of the embeddings of each split."""
    split, measures = contents.column("split"), contents.measures
    rows = []
    for name in contents.splits:
        inside = split == name
        if inside.any():
            mean, std, norm = (
                contents.of_slices(values)[inside]
                for values in (measures.embedding_means, measures.embedding_stds, measures.embedding_norms)
            )
            rows.append(
                [
                    name,
                    format_count(inside.sum()),
                    f"{mean.mean():.4f}",
                    f"{std.mean():.4f}",
                    *(f"{statistic(norm):.1f}" for statistic in (np.min, np.median, np.max)),
                ]
            )
    heads = ("Split", "Embeddings", "Mean", "Standard deviation", "Smallest norm", "Median norm", "Largest norm")
    return Table("Mean and standard deviation over an embedding's values, averaged; Euclidean norm.", heads, rows)


def describe_drift(contents: Contents, pooled: Floats) -> str | None:
    """Say how far apart train and val are, next to random splits; None where there is no val."""
    split = contents.column("split")
    training = split != "test"
    validation = split[training] == "val"
    if not validation.any() or validation.all():
        return None
    unit = "slice" if contents.shared else "patient"
    drift = drift_between(pooled[training], validation.tolist(), contents.column(unit)[training].tolist())
    low, high = map(format_number, drift.random)
    unusual = "more than" if drift.share < 0.05 else "no more than"
    return (
        f"The means of train and val lie {format_number(drift.distance)} standard deviations apart (root mean square "
        f"over the channels). Of {DRAWS} random splits of the same {unit}s, {100 * drift.share:.0f} % are at least as "
        f"far apart, and the middle 90 % between {low} and {high}: val differs from train {unusual} chance explains."
    )


def draw_map(contents: Contents, pooled: Floats) -> list[Chart]:
    """Draw the slices in the plane of the two main axes of their pooled embeddings, by split and by group."""
    centred = pooled - pooled.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(2), np.abs(axes[:2]).argmax(1)])[:, np.newaxis]
    x, y = axes @ centred.T
    explained = values**2 / max((values**2).sum(), np.finfo(float).tiny)
    charts = []
    for column, kinds in (("split", contents.splits), ("group", contents.groups)):

        def draw(axes_: "Axes", column: str = column, kinds: Sequence[str] = kinds) -> None:
            for number, kind in enumerate(kinds):
                inside = contents.column(column) == kind
                axes_.scatter(
                    x[inside],
                    y[inside],
                    s=7,
                    color=SERIES[number],
                    marker="osD^v"[number],
                    alpha=0.65,
                    linewidths=0,
                    label=kind,
                )
            axes_.grid(visible=False)
            axes_.set(
                xlabel=f"axis 1 ({100 * explained[0]:.0f} %)",
                ylabel=f"axis 2 ({100 * explained[1]:.0f} %)",
                xticks=[],
                yticks=[],
            )
            axes_.legend(
                ncols=5,
                loc="lower center",
                bbox_to_anchor=(0.5, 1),
                markerscale=1.8,
                handletextpad=0.1,
                columnspacing=0.8,
            )

        description = (
            f"Each dot is a slice, at its pooled embedding along the two axes of largest variance, by {column}."
        )
        charts.append(draw_chart(f"map-{column}", f"Pooled embeddings by {column}", description, draw, height=3.2))
    return charts


def draw_norms(contents: Contents) -> Chart:
    """Draw the distribution of norms of each split."""
    norms, split = contents.of_slices(contents.measures.embedding_norms), contents.column("split")
    bins = np.linspace(norms.min(), max(norms.max(), norms.min() + 1e-6), 6 + int(len(norms) ** 0.5) // 2).tolist()

    def draw(axes: "Axes") -> None:
        for number, name in enumerate(contents.splits):
            if (split == name).any():
                axes.hist(
                    norms[split == name],
                    bins=bins,
                    density=True,
                    histtype="step",
                    linewidth=1.5,
                    color=SERIES[number],
                    label=name,
                )
        axes.set(xlabel="Euclidean norm of an embedding", ylabel="density")
        axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))

    return draw_chart("norms", "Norm of the embeddings", "Histograms, one line per split.", draw)


def draw_similarities(comparison: Comparison, threshold: float) -> Chart:
    """Draw how alike slices of one patient are, and slices of different patients."""
    both = {"same patient": comparison.same_patient, "different patients": comparison.different_patients}
    kinds = {name: distribution for name, distribution in both.items() if distribution.counts.any()}
    edges = np.linspace(-1, 1, SIMILARITY_BINS + 1)

    def draw(axes: "Axes") -> None:
        for number, (name, distribution) in enumerate(both.items()):
            if name in kinds:
                axes.hist(
                    edges[:-1],
                    bins=edges.tolist(),
                    weights=distribution.histogram(SIMILARITY_BINS),
                    density=True,
                    histtype="step",
                    linewidth=1.5,
                    color=SERIES[number],
                    label=name,
                )
        axes.axvline(threshold, color=TEXT, linewidth=0.8, linestyle="--")
        axes.axhline(0, color=LINE, linewidth=0.6)
        axes.set(xlabel="cosine similarity, centred", ylabel="density", xlim=(-1, 1.02))
        axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))

    words = "; ".join(
        f"{name}: median {format_number(distribution.quantile(0.5), 2)}, "
        f"99th percentile {format_number(distribution.quantile(0.99), 2)}"
        for name, distribution in kinds.items()
    )
    return draw_chart("similarity", "How alike two slices are", f"Histograms; threshold dashed. {words}.", draw)
