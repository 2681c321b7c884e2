"""Slices that stand in more than one split, or nearly so: by the bytes of their image and by their embedding.

All pairs of slices are compared, but only the similarities of one block of pairs are held at a time: all of those of
10,000 patients would take 270 GB.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acdc_medsam.layout import PNG_IMAGE_SHA256, SPLITS
from acdc_medsam.measures.records import Counts, Floats
from acdc_medsam.report.contents import Contents

LEAST_ALIKE = 0.9
"""Similarity below which two slices are no near-duplicates, whatever the encoder, see :class:`Similarities`."""

BLOCK_SLICES = 1024
"""Slices that are compared with as many others at once: their vectors take 32 MB, their similarities 8 MB."""

SHOWN_PAIRS = 20
"""Near-duplicates that are listed, the most alike ones; all are counted."""

FINE_BINS = 40_000
"""Bins between -1 and 1 that similarities are counted in: quantiles are right to a bin's width, 0.00005."""

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Pair:
    """Two slices in different splits that are nearly the same, and their similarity."""

    one: str
    other: str
    similarity: float
    same_patient: bool


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of slices in different splits that are nearly the same.

    Attributes:
        pairs: The most alike pairs, SHOWN_PAIRS at most, the most alike first.
        count: Number of all such pairs.
        doubled: Number of slices that are the second one of a pair, see :func:`compare_slices`.
    """

    pairs: Sequence[Pair]
    count: int
    doubled: int


class Distribution:
    """A histogram of similarities that is fine enough to read quantiles from it."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(FINE_BINS, np.int64)

    def add(self, values: Floats) -> None:
        """Count similarities (k,); rounding may have put some of them just outside [-1, 1]."""
        # Several times as fast as np.histogram, and there are billions of pairs in a large cohort.
        bins = ((np.clip(values, -1, 1) + 1) * (FINE_BINS / 2)).astype(np.int32)
        self.counts += np.bincount(np.minimum(bins, FINE_BINS - 1), minlength=FINE_BINS)

    def histogram(self, bins: int) -> Counts:
        """(bins,) counts in equal bins from -1 to 1; ``bins`` divides FINE_BINS."""
        counts: Counts = self.counts.reshape(bins, -1).sum(1)
        return counts

    def quantile(self, share: float) -> float:
        """Similarity that this share of all similarities, one at least, lies below."""
        centres = (np.arange(FINE_BINS) + 0.5) * 2 / FINE_BINS - 1
        up_to = np.cumsum(self.counts)
        position = share * (up_to[-1] - 1)
        below, above = (
            centres[np.searchsorted(up_to, place, side="right")] for place in (np.floor(position), np.ceil(position))
        )
        return float(below + (position % 1) * (above - below))


@dataclass(frozen=True)
class Comparison:
    """What comparing all pairs of slices has shown.

    Attributes:
        near_duplicates: Pairs across splits that are nearly the same.
        same_patient: Similarities of slices of one patient.
        different_patients: Similarities of slices of two patients.
    """

    near_duplicates: NearDuplicates
    same_patient: Distribution
    different_patients: Distribution


def identical_pictures(contents: Contents) -> list[tuple[str, ...]]:
    """Slices in different splits whose PNG images are the same bytes, those in train first."""
    same = defaultdict(list)
    for row in sorted(contents.rows, key=lambda row: SPLITS.index(row["split"])):
        same[row[PNG_IMAGE_SHA256]].append(row)
    return [
        tuple(f"{row['split']}/{row['slice']}" for row in rows)
        for rows in same.values()
        if len({row["split"] for row in rows}) > 1
    ]


class Similarities:
    """Cosine similarity of slices by their embeddings, pooled by region, less the mean of all slices.

    Of six real patients with LiteMedSAM: the cosine of the mean over all places is above 0.9 for any two slices, since
    embeddings share a large mean. Less that mean, slices of different patients still reach 0.82, which neighbouring
    slices of one heart (0.71 to 0.99) do not stand out from. With 4 x 4 regions, which also say where things are,
    different patients stay below 0.53, neighbours lie between 0.73 and 0.94, and the same slice at end-diastole and
    end-systole between 0.89 and 0.99, with a median of 0.97.
    """

    def __init__(self, pooled: npt.NDArray[np.float32], places: Positions, block: int = BLOCK_SLICES) -> None:
        """Find the mean; nothing is compared yet.

        Args:
            pooled: (m, 256, regions, regions) embeddings, pooled by region.
            places: (n,) place in ``pooled`` of each slice, n >= 1.
            block: Number of slices that are compared with as many others at once.
        """
        self._pooled = pooled
        self._places = places
        self._block = block
        sums = [pooled[places[part]].sum(0, dtype=np.float64) for part in self._parts(len(places))]
        self._mean: Floats = np.sum(sums, axis=0).ravel() / len(places)

    def _parts(self, count: int) -> list[slice]:
        """Cut ``count`` items into blocks."""
        return [slice(start, min(start + self._block, count)) for start in range(0, count, self._block)]

    def _directions(self, slices: slice | Positions) -> Floats:
        """Vectors of length 1, (k, 256 * regions * regions), of k slices."""
        pooled = self._pooled[self._places[slices]]
        directions = pooled.reshape(len(pooled), -1).astype(np.float64)
        directions -= self._mean
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), np.finfo(float).tiny)
        return directions

    def of_pairs(self, one: Positions, other: Positions) -> Floats:
        """(k,) similarities of the pairs of slices at the positions ``one`` (k,) and ``other`` (k,)."""
        parts = self._parts(len(one))
        found = [np.sum(self._directions(one[part]) * self._directions(other[part]), axis=1) for part in parts]
        return np.concatenate([np.zeros(0), *found])

    def blocks(self) -> Iterator[tuple[Positions, Positions, Floats]]:
        """Yield positions (r,) and (c,) of slices and their similarities (r, c), for the upper triangle of (n, n)."""
        positions = np.arange(len(self._places))
        parts = self._parts(len(positions))
        for number, rows in enumerate(parts):
            directions = self._directions(rows)
            for columns in parts[number:]:
                yield positions[rows], positions[columns], directions @ self._directions(columns).T


def between_phases(contents: Contents, similarities: Similarities) -> Floats:
    """Similarities of the same slice of one heart at end-diastole and end-systole."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(contents.rows):
        places[row["patient"], row["slice_index"]].append(place)
    pairs = np.array([pair for pair in places.values() if len(pair) == 2], np.intp).reshape(-1, 2)
    return similarities.of_pairs(pairs[:, 0], pairs[:, 1])


def threshold_of(phases: Floats) -> float:
    """Similarity from which two slices are near-duplicates: nine in ten slices are as much like their other phase.

    So the threshold follows the encoder. ``phases``: see :func:`between_phases`.
    """
    return max(LEAST_ALIKE, float(np.quantile(phases, 0.1))) if phases.size else LEAST_ALIKE


def compare_slices(contents: Contents, similarities: Similarities, threshold: float) -> Comparison:
    """Compare each slice with each other one.

    Of a pair of near-duplicates the slice in train comes first, or that in val.

    Args:
        contents: The dataset.
        similarities: Similarities of the slices, in the order of the rows.
        threshold: Similarity from which two slices are near-duplicates, see :func:`threshold_of`.
    """
    split = np.array([SPLITS.index(row["split"]) for row in contents.rows])
    patient = np.unique(contents.column("patient"), return_inverse=True)[1]
    same_patient, different_patients = Distribution(), Distribution()
    found = _Found(len(split))

    for rows, columns, similarity in similarities.blocks():
        upper = rows[:, np.newaxis] < columns
        same = patient[rows][:, np.newaxis] == patient[columns]
        same_patient.add(similarity[upper & same])
        different_patients.add(similarity[upper & ~same])

        across = split[rows][:, np.newaxis] != split[columns]
        row, column = np.nonzero(upper & across & (similarity >= threshold))
        one, other = rows[row], columns[column]
        swapped = split[one] > split[other]
        found.add(np.where(swapped, other, one), np.where(swapped, one, other), similarity[row, column])

    pairs = [
        Pair(
            "{split}/{slice}".format_map(contents.rows[one]),
            "{split}/{slice}".format_map(contents.rows[other]),
            value,
            bool(patient[one] == patient[other]),
        )
        for one, other, value in found.most_alike()
    ]
    near_duplicates = NearDuplicates(pairs, found.count, int(found.doubled.sum()))
    return Comparison(near_duplicates, same_patient, different_patients)


class _Found:
    """Near-duplicates as they are found: all are counted, the most alike are kept."""

    def __init__(self, slices: int) -> None:
        self.count = 0
        self.doubled = np.zeros(slices, bool)
        self._kept: tuple[Positions, Positions, Floats] = (np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))

    def add(self, one: Positions, other: Positions, similarity: Floats) -> None:
        """Add k pairs of slices: positions of the first (k,) and second ones (k,), and their similarities (k,)."""
        self.count += len(one)
        self.doubled[other] = True
        least = self._kept[2].min() if len(self._kept[2]) == SHOWN_PAIRS else -np.inf
        candidates = [part[similarity >= least] for part in (one, other, similarity)]
        first, second, value = (np.concatenate(parts) for parts in zip(self._kept, candidates, strict=True))
        order = np.lexsort((second, first, -value))[:SHOWN_PAIRS]
        self._kept = (first[order], second[order], value[order])

    def most_alike(self) -> list[tuple[int, int, float]]:
        """Positions and similarity of the pairs that were kept."""
        return list(zip(*(part.tolist() for part in self._kept), strict=True))
