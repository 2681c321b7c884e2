"""Slices that stand in more than one split, or nearly so: by the bytes of their image and by their embedding."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acdc_medsam.dataset import SPLITS
from acdc_medsam.measures import Floats
from acdc_medsam.report.contents import Contents

LEAST_ALIKE = 0.9
"""Similarity below which two slices are no near-duplicates, whatever the encoder, see :func:`similarities`."""


@dataclass(frozen=True)
class Pair:
    """Two slices in different splits that are nearly the same, and their similarity."""

    one: str
    other: str
    similarity: float
    same_patient: bool


def identical_pictures(contents: Contents) -> list[tuple[str, ...]]:
    """Slices in different splits whose PNG images are the same bytes, those in train first."""
    same = defaultdict(list)
    for row in sorted(contents.rows, key=lambda row: SPLITS.index(row["split"])):
        same[row["image_sha256"]].append(row)
    return [
        tuple(f"{row['split']}/{row['slice']}" for row in rows)
        for rows in same.values()
        if len({row["split"] for row in rows}) > 1
    ]


def similarities(pooled: npt.NDArray[np.float32]) -> Floats:
    """(n, n) cosine similarity of embeddings pooled by region, (n, 256, regions, regions), less their mean.

    Of six real patients with LiteMedSAM: the cosine of the mean over all places is above 0.9 for any two slices, since
    embeddings share a large mean. Less that mean, slices of different patients still reach 0.82, which neighbouring
    slices of one heart (0.71 to 0.99) do not stand out from. With 4 x 4 regions, which also say where things are,
    different patients stay below 0.53, neighbours lie between 0.73 and 0.94, and the same slice at end-diastole and
    end-systole between 0.89 and 0.99, with a median of 0.97.
    """
    centred = (pooled - pooled.mean(0)).reshape(len(pooled), -1).astype(np.float64)
    directions = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.finfo(float).tiny)
    similarity: Floats = directions @ directions.T
    return similarity


def between_phases(contents: Contents, similarity: Floats) -> Floats:
    """Similarities of the same slice of one heart at end-diastole and end-systole."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(contents.rows):
        places[row["patient"], row["slice_index"]].append(place)
    return np.array([similarity[pair[0], pair[1]] for pair in places.values() if len(pair) == 2])


def threshold_of(phases: Floats) -> float:
    """Similarity from which two slices are near-duplicates: nine in ten slices are as much like their other phase.

    So the threshold follows the encoder. ``phases``: see :func:`between_phases`.
    """
    return max(LEAST_ALIKE, float(np.quantile(phases, 0.1))) if phases.size else LEAST_ALIKE


def near_duplicates(contents: Contents, similarity: Floats, threshold: float) -> list[Pair]:
    """Pairs of slices in different splits whose similarity is at least ``threshold``, the most alike pair first.

    Of a pair the slice in train comes first, or that in val.

    Args:
        contents: the dataset.
        similarity: (n, n) of the slices in the order of the rows.
        threshold: see :func:`threshold_of`.
    """
    split, patient, name = (contents.column(key) for key in ("split", "patient", "slice"))
    number = np.array([SPLITS.index(one) for one in split])
    one, other = np.nonzero((similarity >= threshold) & (number[:, np.newaxis] < number))
    order = np.argsort(-similarity[one, other], kind="stable")
    return [
        Pair(
            f"{split[i]}/{name[i]}",
            f"{split[j]}/{name[j]}",
            float(similarity[i, j]),
            bool(patient[i] == patient[j]),
        )
        for i, j in zip(one[order], other[order], strict=True)
    ]
