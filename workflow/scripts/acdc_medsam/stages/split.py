"""Stage split: which slice goes to train, val or test, and into which of five folds.

Every choice is a ranking by a seeded hash of names. It depends neither on the order of files nor on the
machine, and one patient more moves at most the few at the border.
"""

import hashlib
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from acdc_medsam.acdc.labels import GROUPS
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, read_sealed, write_table
from acdc_medsam.layout import SPLIT_COLUMNS

logger = logging.getLogger(__name__)

FOLDS = 5


def rank(names: Iterable[str], seed: int | str) -> list[str]:
    """Order names by the sha256 of seed and name: a shuffle that adding or removing a name does not disturb."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).digest(), name))


def validation_count(items: int, fraction: float) -> int:
    """Number of items for validation: ``fraction`` of them, rounded; at least one stays on either side.

    With a fraction of 0, or fewer than two items, there is no validation side.
    """
    if fraction == 0 or items < 2:
        return 0
    return min(max(math.floor(items * fraction + 0.5), 1), items - 1)


def share_by_group(sizes: Mapping[str, int], total: int) -> Counter[str]:
    """Share validation places among groups in proportion to their sizes.

    Places are given one after the other to the group whose next place ranks highest, as parliaments share seats
    (A. Sainte-Lague, 1910): the n-th place of a group of s patients counts s / (2 n - 1). Two rules come before that.
    A group of two patients or more gets its first place before any group gets a second, so that as many groups as
    possible stand on both sides; and no group gives its last patient unless nothing else is left, groups of one
    patient first.

    With one patient more, the places of that patient's group rank higher than before and those of the other groups
    rank among each other as they did. The group therefore gets one place more at most, either the one that is added
    or one of another group; largest remainders instead of ranks would let several groups change places.

    Args:
        sizes: Number of patients of each group; among equals the group that comes first is preferred.
        total: Number of places, at most the number of patients.

    Returns:
        Number of places of each group.
    """
    ranked = list[tuple[int, float, int, str]]()
    for order, (group, size) in enumerate(sizes.items()):
        for place in range(1, size + 1):
            if place == size:
                ranked.append((2, int(size > 1), order, group))
            elif place == 1:
                ranked.append((0, -size, order, group))
            else:
                ranked.append((1, -size / (2 * place - 1), order, group))
    return Counter(group for *_, group in sorted(ranked)[:total])


def patients_by_group(groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Turn patient -> group into group -> patients."""
    members = defaultdict[str, list[str]](list)
    for patient, group in groups.items():
        members[group].append(patient)
    return dict(members)


def validation_patients(groups: Mapping[str, str], fraction: float, seed: int, stratify: bool) -> set[str]:
    """Choose the validation patients.

    One patient more or less moves two of the others at most: within a group of unchanged places the newcomer may
    take one patient's place, and a place that is added, or goes from one group to another, moves a patient in each.

    Args:
        groups: Pathology group of each patient.
        fraction: Share of the patients, in [0, 1).
        seed: Seed of the ranking.
        stratify: Whether every group gives its share.
    """
    total = validation_count(len(groups), fraction)
    if not stratify:
        return set(rank(groups, seed)[:total])

    members = patients_by_group(groups)
    places = share_by_group({group: len(members[group]) for group in rank(members, seed)}, total)
    return {name for group, names in members.items() for name in rank(names, seed)[: places[group]]}


def assign_folds(groups: Mapping[str, str], seed: int) -> dict[str, int]:
    """Put patients into folds 0 to 4, so that each fold has its share of each group, to within one patient.

    The ranking of each group is cut into FOLDS blocks. One patient more or less shifts each of the borders between
    blocks by one patient at most, so at most FOLDS - 1 of the others move, all of the same group.

    The blocks of a group whose size is no multiple of FOLDS differ by a patient. Each group starts at another fold,
    so that the larger blocks of all groups do not meet in the same fold.

    Args:
        groups: Pathology group of each patient, one of GROUPS.
        seed: Seed of the ranking.
    """
    folds = dict[str, int]()
    for group, names in patients_by_group(groups).items():
        first_fold = GROUPS.index(group)
        # A ranking of its own: val is the beginning of the other one, and train would lack whole blocks.
        for position, patient in enumerate(rank(names, f"{seed}:fold")):
            block = position * FOLDS // len(names)
            folds[patient] = (first_fold + block) % FOLDS
    return folds


def assign_splits(slices: Sequence[Row], unit: str, fraction: float, seed: int, stratify: bool) -> list[Row]:
    """Give each slice its split and fold.

    Args:
        slices: rows with ``slice``, ``patient``, ``subset`` and ``group``.
        unit: ``patient`` keeps a patient's slices on one side; ``slice`` shuffles all slices, unstratified.
        fraction: share of the training patients or slices that goes to val, in [0, 1).
        seed: of the ranking.
        stratify: whether every group gives its share; for ``patient`` alone.

    Returns:
        One row of SPLIT_COLUMNS per slice; testing patients go to ``test`` and have no fold.
    """
    training = [row for row in slices if row["subset"] == "training"]
    groups = {row["patient"]: row["group"] for row in training}
    folds = assign_folds(groups, seed)
    if unit == "patient":
        chosen = validation_patients(groups, fraction, seed, stratify)
        validation = {row["slice"] for row in training if row["patient"] in chosen}
    else:
        names = rank((row["slice"] for row in training), seed)
        validation = set(names[: validation_count(len(names), fraction)])
    rows = []
    for row in slices:
        name, test = row["slice"], row["subset"] != "training"
        side = "test" if test else "val" if name in validation else "train"
        rows.append({"slice": name, "split": side, "fold": "" if test else str(folds[row["patient"]])})
    return rows


def split_dataset(tables: Sequence[Path], table: Path, unit: str, validation: float, seed: int, stratify: bool) -> None:
    """Read every patient's table of slices and write ``table`` with the columns SPLIT_COLUMNS.

    Raises:
        DatasetError: there is no slice at all.
    """
    slices = [row for path in tables for row in read_sealed(path)]
    if not slices:
        raise DatasetError(
            "no slice is left to make a dataset of: every patient is left out, or no label holds a structure; "
            "the logs of normalize and render say which, and images.keep_empty keeps slices without structures"
        )
    rows = assign_splits(slices, unit, validation, seed, stratify)
    if validation and not any(row["split"] == "val" for row in rows):
        logger.warning("nothing goes to val: there are fewer than two training %ss to divide", unit)
    write_table(table, SPLIT_COLUMNS, rows, sealed=True)
    counts = Counter(row["split"] for row in rows)
    logger.info("slices per split: %s", ", ".join(f"{split} {number}" for split, number in counts.items()))
