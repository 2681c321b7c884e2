"""Slices that are in more than one split, or nearly so: found by the bytes of their images and by their embeddings.

All pairs of slices are compared, but only the similarities of one block of pairs are in memory at a time. Those of all
pairs of slices of 10,000 patients would take 270 GB.
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
"""Similarity below which two slices are never near-duplicates, whatever the encoder; see :class:`Similarities`."""

BLOCK_SLICES = 1024
"""Number of slices in a block, which are compared at once. Their vectors take 32 MB, their similarities 8 MB."""

SHOWN_PAIRS = 20
"""Number of near-duplicates that are listed, the most similar ones. All are counted."""

FINE_BINS = 40_000
"""Number of bins between -1 and 1 that similarities are counted in. Quantiles are exact to a bin's width, 0.00005."""

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Pair:
    """Two slices in different splits that are nearly the same.

    Attributes:
        one: Split and name of the first slice.
        other: Split and name of the second slice.
        similarity: Their similarity, see :class:`Similarities`.
        same_patient: Whether both are slices of one patient.
    """

    one: str
    other: str
    similarity: float
    same_patient: bool


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of slices in different splits that are nearly the same.

    Attributes:
        pairs: The most similar pairs, at most SHOWN_PAIRS, the most similar first.
        count: Number of all such pairs.
        doubled: Number of slices that are the second one of a pair, see :func:`compare_slices`.
    """

    pairs: Sequence[Pair]
    count: int
    doubled: int


class Distribution:
    """A histogram of similarities that is fine enough to read off quantiles."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(FINE_BINS, np.int64)

    def add(self, values: Floats) -> None:
        """Count similarities (k,). Some may lie just outside [-1, 1] by rounding error."""
        # This is several times as fast as np.histogram, and a large cohort has billions of pairs.
        bins = ((np.clip(values, -1, 1) + 1) * (FINE_BINS / 2)).astype(np.int32)
        self.counts += np.bincount(np.minimum(bins, FINE_BINS - 1), minlength=FINE_BINS)

    def histogram(self, bins: int) -> Counts:
        """Count the similarities in equal bins from -1 to 1: (bins,) counts. ``bins`` must divide FINE_BINS."""
        counts: Counts = self.counts.reshape(bins, -1).sum(1)
        return counts

    def quantile(self, share: float) -> float:
        """Return the similarity that a share of all similarities lies below. There must be at least one similarity."""
        centers = (np.arange(FINE_BINS) + 0.5) * 2 / FINE_BINS - 1
        up_to = np.cumsum(self.counts)
        position = share * (up_to[-1] - 1)
        below = centers[np.searchsorted(up_to, np.floor(position), side="right")]
        above = centers[np.searchsorted(up_to, np.ceil(position), side="right")]
        return float(below + (position % 1) * (above - below))


@dataclass(frozen=True)
class Comparison:
    """The result of comparing all pairs of slices.

    Attributes:
        near_duplicates: Pairs across splits that are nearly the same.
        same_patient: Similarities of slices of one patient.
        different_patients: Similarities of slices of two patients.
    """

    near_duplicates: NearDuplicates
    same_patient: Distribution
    different_patients: Distribution


def identical_pictures(contents: Contents) -> list[tuple[str, ...]]:
    """Find slices in different splits whose PNG images have the same bytes. Those in train come first."""
    same = defaultdict(list)
    for row in sorted(contents.rows, key=lambda row: SPLITS.index(row["split"])):
        same[row[PNG_IMAGE_SHA256]].append(row)
    return [
        tuple(f"{row['split']}/{row['slice']}" for row in rows)
        for rows in same.values()
        if len({row["split"] for row in rows}) > 1
    ]


class Similarities:
    """Cosine similarities of slices: of their embeddings, pooled by region, minus the mean of all slices.

    This definition separates slices of different patients from slices of one heart. For six real patients and
    LiteMedSAM, the cosine of embeddings that are pooled over the whole picture is above 0.9 for any two slices, because
    all embeddings have a large mean in common. Without that mean, slices of different patients still reach 0.82, and
    neighboring slices of one heart (0.71 to 0.99) do not stand out. With 4 x 4 regions, which also encode where things
    are, slices of different patients stay below 0.53, neighbors are between 0.73 and 0.94, and the same slice at
    end-diastole and end-systole is between 0.89 and 0.99, with a median of 0.97.
    """

    def __init__(self, pooled: npt.NDArray[np.float32], indices: Positions, block: int = BLOCK_SLICES) -> None:
        """Compute the mean. Nothing is compared yet.

        Args:
            pooled: (m, 256, regions, regions) embeddings, pooled by region.
            indices: (n,) index in ``pooled`` of each slice, n >= 1.
            block: Number of slices in a block, which are compared at once.
        """
        self._pooled = pooled
        self._indices = indices
        self._block = block
        sums = [pooled[indices[part]].sum(0, dtype=np.float64) for part in self._cut(len(indices))]
        self._mean: Floats = np.sum(sums, axis=0).ravel() / len(indices)

    def _cut(self, count: int) -> list[slice]:
        """Divide ``count`` items into blocks."""
        return [slice(start, min(start + self._block, count)) for start in range(0, count, self._block)]

    def _directions(self, slices: slice | Positions) -> Floats:
        """Return the vectors of k slices, (k, 256 * regions * regions), scaled to length 1."""
        pooled = self._pooled[self._indices[slices]]
        directions = pooled.reshape(len(pooled), -1).astype(np.float64)
        directions -= self._mean
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), np.finfo(float).tiny)
        return directions

    def of_pairs(self, one: Positions, other: Positions) -> Floats:
        """Compute the similarities (k,) of k pairs of slices with the positions ``one`` (k,) and ``other`` (k,)."""
        parts = self._cut(len(one))
        found = [np.sum(self._directions(one[part]) * self._directions(other[part]), axis=1) for part in parts]
        return np.concatenate([np.zeros(0), *found])

    def blocks(self) -> Iterator[tuple[Positions, Positions, Floats]]:
        """Yield positions (r,) and (c,) of slices and their similarities (r, c), for blocks that cover each pair."""
        positions = np.arange(len(self._indices))
        parts = self._cut(len(positions))
        for first, rows in enumerate(parts):
            directions = self._directions(rows)
            for columns in parts[first:]:
                yield positions[rows], positions[columns], directions @ self._directions(columns).T


def between_phases(contents: Contents, similarities: Similarities) -> Floats:
    """Compute the similarities (k,) of each slice of a heart at end-diastole and the same slice at end-systole."""
    positions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, row in enumerate(contents.rows):
        positions[row["patient"], row["slice_index"]].append(position)
    # A slice that was kept in only one phase has no counterpart.
    pairs = np.array([pair for pair in positions.values() if len(pair) == 2], np.intp).reshape(-1, 2)
    return similarities.of_pairs(pairs[:, 0], pairs[:, 1])


def choose_threshold(phases: Floats) -> float:
    """Choose the similarity at which two slices count as near-duplicates.

    Nine in ten slices are at least that similar to the same slice in the other phase, so the threshold adapts to the
    encoder.

    Args:
        phases: (k,) similarities of slices in both phases, see :func:`between_phases`.

    Returns:
        The threshold, at least LEAST_ALIKE.
    """
    return max(LEAST_ALIKE, float(np.quantile(phases, 0.1))) if phases.size else LEAST_ALIKE


def compare_slices(contents: Contents, similarities: Similarities, threshold: float) -> Comparison:
    """Compare all pairs of slices.

    In a pair of near-duplicates, the slice in train comes before a slice in val, and both before a slice in test.

    Args:
        contents: The dataset.
        similarities: Similarities of the slices, in the order of the rows.
        threshold: Similarity at which two slices count as near-duplicates, see :func:`choose_threshold`.

    Returns:
        The near-duplicates and the distributions of similarities.
    """
    split = np.array([SPLITS.index(row["split"]) for row in contents.rows])
    patient = np.unique(contents.column("patient"), return_inverse=True)[1]
    same_patient = Distribution()
    different_patients = Distribution()
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
        for one, other, value in found.list_kept()
    ]
    near_duplicates = NearDuplicates(pairs, found.count, int(found.doubled.sum()))
    return Comparison(near_duplicates, same_patient, different_patients)


class _Found:
    """Near-duplicates as they are found. All are counted, the most similar ones are kept."""

    def __init__(self, slices: int) -> None:
        self.count = 0
        self.doubled = np.zeros(slices, bool)
        self._kept: tuple[Positions, Positions, Floats] = (np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))

    def add(self, one: Positions, other: Positions, similarity: Floats) -> None:
        """Add k pairs of slices with the positions ``one`` (k,) and ``other`` (k,) and their similarities (k,)."""
        self.count += len(one)
        self.doubled[other] = True
        # Pairs that cannot be among the most similar ones are not sorted, and ties are broken by position.
        least = self._kept[2].min() if len(self._kept[2]) == SHOWN_PAIRS else -np.inf
        candidates = [part[similarity >= least] for part in (one, other, similarity)]
        first, second, value = (np.concatenate(parts) for parts in zip(self._kept, candidates, strict=True))
        order = np.lexsort((second, first, -value))[:SHOWN_PAIRS]
        self._kept = (first[order], second[order], value[order])

    def list_kept(self) -> list[tuple[int, int, float]]:
        """List the positions and the similarity of the pairs that were kept, the most similar first."""
        return list(zip(*(part.tolist() for part in self._kept), strict=True))
