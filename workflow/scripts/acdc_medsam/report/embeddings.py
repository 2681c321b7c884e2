"""Section "embeddings": statistics per split, the drift between train and val, and near-duplicates across splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from acdc_medsam.measures.records import Counts, Floats
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.drawing import LINE, SERIES, TEXT, Chart
from acdc_medsam.report.elements import Table, format_count, format_number
from acdc_medsam.report.near_duplicates import (
    LEAST_ALIKE,
    Comparison,
    NearDuplicates,
    Similarities,
    between_phases,
    choose_threshold,
    compare_slices,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWS = 500
"""Number of random splits that the drift is compared with."""

SEED = 2026
"""Seed of the random splits."""

SIMILARITY_BINS = 80
"""Number of bins between -1 and 1 in the histograms of similarities."""


@dataclass(frozen=True)
class Drift:
    """The distance between the means of train and val, compared with that of random splits.

    Attributes:
        distance: Distance between train and val.
        random: 5th and 95th percentile of the distances of random splits.
        share: Share of the random splits whose distance is at least as large.
    """

    distance: float
    random: tuple[float, float]
    share: float


@dataclass(frozen=True)
class Embeddings:
    """What the section shows.

    Attributes:
        figures: Table of splits.
        outside: Number of slices that are not in train.
        drift: Drift between train and val in words, or None without val.
        compared: How slices were compared, in words.
        near_duplicates: Pairs of slices in different splits that are nearly the same.
        charts: Maps, norms and similarities.
    """

    figures: Table
    outside: int
    drift: str | None
    compared: str
    near_duplicates: NearDuplicates
    charts: Sequence[Chart]


def measure_drift(vectors: Floats, validation: Sequence[bool], units: Sequence[str]) -> Drift:
    """Compare the distance between the means of train and val with that of random splits of the same units.

    The distance is the root mean square over the channels of the difference of the means, in standard deviations.
    Slices of one heart are similar, so the distance would be large for any split by patient. Therefore whole units
    change sides (permutation test: P. Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 3rd edition,
    2005).

    Args:
        vectors: (n, channels) vectors of the slices.
        validation: (n,) whether each slice is in val. Both sides must have slices.
        units: (n,) names of the unit that each slice belongs to, a patient or the slice itself.

    Returns:
        The distance and that of random splits.
    """
    # A constant channel is divided by a tiny number instead of 0, and stays 0.
    scaled = (vectors - vectors.mean(0)) / np.maximum(vectors.std(0), np.finfo(float).tiny)
    names, unit = np.unique(np.asarray(units), return_inverse=True)
    sums = np.zeros((len(names), vectors.shape[1]))
    np.add.at(sums, unit, scaled)
    sizes = np.bincount(unit).astype(float)

    # The first row is the actual split, each further row a random one: (1 + DRAWS, units), True for val.
    actual = np.zeros(len(names), bool)
    actual[unit[np.asarray(validation)]] = True
    random = np.random.default_rng(SEED)
    sides = np.array([actual, *(random.permutation(actual) for _ in range(DRAWS))])

    def means_of(chosen: Floats) -> Floats:
        means: Floats = chosen @ sums / (chosen @ sizes)[:, np.newaxis]
        return means

    differences = means_of(sides.astype(float)) - means_of((~sides).astype(float))
    actual_distance, *drawn = np.sqrt(np.mean(differences**2, axis=1)).tolist()
    low, high = np.quantile(drawn, (0.05, 0.95)).tolist()
    # A random split that happens to be the actual one must count in spite of rounding errors.
    share = float(np.mean(np.array(drawn) >= actual_distance - 1e-12))
    return Drift(actual_distance, (low, high), share)


def embeddings_section(contents: Contents) -> Embeddings:
    """Compute the contents of the section. The dataset must have embeddings."""
    regions = contents.measures.pooled
    pooled = contents.of_slices(regions.mean((2, 3), dtype=np.float64))
    similarities = Similarities(regions, contents.indices)
    threshold = choose_threshold(between_phases(contents, similarities))
    comparison = compare_slices(contents, similarities, threshold)

    compared = (
        "Embeddings are compared by the cosine of their means in 4 x 4 regions, minus the mean of the dataset. "
        f"Two slices are nearly the same if it is {format_number(threshold)} or more: nine in ten slices at "
        f"end-diastole are that similar to the same slice at end-systole. The threshold is never below {LEAST_ALIKE}."
    )
    return Embeddings(
        figures=summarize_by_split(contents),
        outside=sum(row["split"] != "train" for row in contents.rows),
        drift=describe_drift(contents, pooled),
        compared=compared,
        near_duplicates=comparison.near_duplicates,
        charts=[*draw_maps(contents, pooled), draw_norms(contents), draw_similarities(comparison, threshold)],
    )


def summarize_by_split(contents: Contents) -> Table:
    """List the mean, the standard deviation and the norm of the embeddings of each split."""
    split = contents.column("split")
    means = contents.of_slices(contents.measures.embedding_means)
    stds = contents.of_slices(contents.measures.embedding_stds)
    norms = contents.of_slices(contents.measures.embedding_norms)
    rows = []
    for name in contents.splits:
        inside = split == name
        if inside.any():
            averages = [f"{values[inside].mean():.4f}" for values in (means, stds)]
            norm = norms[inside]
            extent = [f"{value:.1f}" for value in (norm.min(), np.median(norm), norm.max())]
            rows.append([name, format_count(inside.sum()), *averages, *extent])

    heads = ("Split", "Embeddings", "Mean", "Standard deviation", "Smallest norm", "Median norm", "Largest norm")
    return Table("Mean and standard deviation over an embedding's values, averaged; Euclidean norm.", heads, rows)


def describe_drift(contents: Contents, pooled: Floats) -> str | None:
    """Describe the drift between train and val, compared with random splits. Return None if there is no val."""
    split = contents.column("split")
    training = split != "test"
    validation = split[training] == "val"
    if not validation.any() or validation.all():
        return None

    # Patients are in more than one split only if the dataset was split by slice.
    unit = "slice" if contents.shared else "patient"
    drift = measure_drift(pooled[training], validation.tolist(), contents.column(unit)[training].tolist())
    low, high = map(format_number, drift.random)
    unusual = "more than" if drift.share < 0.05 else "no more than"
    return (
        f"The means of train and val lie {format_number(drift.distance)} standard deviations apart (root mean square "
        f"over the channels). Of {DRAWS} random splits of the same {unit}s, {100 * drift.share:.0f} % are at least as "
        f"far apart, and the middle 90 % between {low} and {high}: val differs from train {unusual} chance explains."
    )


def draw_maps(contents: Contents, pooled: Floats) -> list[Chart]:
    """Chart the slices in the plane of the two main axes of their pooled embeddings, by split and by group.

    Args:
        contents: The dataset.
        pooled: (n, 256) pooled embeddings in the order of the rows.

    Returns:
        Two charts.
    """
    centered = pooled - pooled.mean(0)
    # Of the products of the channels, because the decomposition of all slices would take many times as long.
    values, vectors = np.linalg.eigh(centered.T @ centered)  # in increasing order
    axes = vectors[:, :-3:-1].T
    # The sign of an axis is arbitrary, so its largest component is made positive.
    axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])[:, np.newaxis]
    coordinates = axes @ centered.T
    explained = values[:-3:-1] / max(values.sum(), np.finfo(float).tiny)
    labels = [f"axis {index + 1} ({100 * explained[index]:.0f} %)" for index in range(2)]

    charts = []
    for column, kinds in (("split", contents.splits), ("group", contents.groups)):
        description = (
            f"Each dot is a slice, at its pooled embedding along the two axes of largest variance, by {column}."
        )
        points = {kind: coordinates[:, contents.column(column) == kind] for kind in kinds}
        draw = partial(_draw_map, points=points, labels=labels)
        charts.append(Chart(f"map-{column}", f"Pooled embeddings by {column}", description, draw, height=3.2))
    return charts


def _draw_map(axes: "Axes", points: Mapping[str, Floats], labels: Sequence[str]) -> None:
    """Draw the points (2, k) of each kind of slice."""
    for index, (kind, (x, y)) in enumerate(points.items()):
        axes.scatter(x, y, s=7, color=SERIES[index], marker="osD^v"[index], alpha=0.65, linewidths=0, label=kind)
    axes.grid(visible=False)
    axes.set(xlabel=labels[0], ylabel=labels[1], xticks=[], yticks=[])
    axes.legend(
        ncols=5,
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        markerscale=1.8,
        handletextpad=0.1,
        columnspacing=0.8,
    )


def draw_norms(contents: Contents) -> Chart:
    """Chart the distribution of the norms of the embeddings of each split."""
    norms = contents.of_slices(contents.measures.embedding_norms)
    split = contents.column("split")
    # The bins must have a width even if all norms are equal.
    bins = np.linspace(norms.min(), max(norms.max(), norms.min() + 1e-6), 6 + int(len(norms) ** 0.5) // 2).tolist()
    draw = partial(_draw_norms, norms={name: norms[split == name] for name in contents.splits}, bins=bins)
    return Chart("norms", "Norm of the embeddings", "Histograms, one line per split.", draw)


def _draw_norms(axes: "Axes", norms: Mapping[str, Floats], bins: Sequence[float]) -> None:
    """Draw the distribution of the norms (k,) of each split in bins with the given edges."""
    for index, (name, values) in enumerate(norms.items()):
        if values.size:
            axes.hist(
                values,
                bins=bins,
                density=True,
                histtype="step",
                linewidth=1.5,
                color=SERIES[index],
                label=name,
            )
    axes.set(xlabel="Euclidean norm of an embedding", ylabel="density")
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))


def draw_similarities(comparison: Comparison, threshold: float) -> Chart:
    """Chart the similarities of slices of one patient, those of slices of different patients, and the threshold."""
    both = {"same patient": comparison.same_patient, "different patients": comparison.different_patients}
    words = "; ".join(
        f"{name}: median {format_number(distribution.quantile(0.5), 2)}, "
        f"99th percentile {format_number(distribution.quantile(0.99), 2)}"
        for name, distribution in both.items()
        if distribution.counts.any()
    )
    counts = {name: distribution.histogram(SIMILARITY_BINS) for name, distribution in both.items()}
    return Chart(
        "similarity",
        "Similarity of two slices",
        f"Histograms; threshold dashed. {words}.",
        partial(_draw_similarities, counts=counts, threshold=threshold),
    )


def _draw_similarities(axes: "Axes", counts: Mapping[str, Counts], threshold: float) -> None:
    """Draw the histograms (SIMILARITY_BINS,) of similarities between -1 and 1, and the threshold."""
    edges = np.linspace(-1, 1, SIMILARITY_BINS + 1)
    for index, (name, weights) in enumerate(counts.items()):
        if weights.any():
            axes.hist(
                edges[:-1],
                bins=edges.tolist(),
                weights=weights,
                density=True,
                histtype="step",
                linewidth=1.5,
                color=SERIES[index],
                label=name,
            )
    axes.axvline(threshold, color=TEXT, linewidth=0.8, linestyle="--")
    axes.axhline(0, color=LINE, linewidth=0.6)
    axes.set(xlabel="cosine similarity, centered", ylabel="density", xlim=(-1, 1.02))
    axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
