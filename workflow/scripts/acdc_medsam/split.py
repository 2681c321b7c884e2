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

from acdc_medsam.errors import DatasetError
from acdc_medsam.files import Row, read_sealed, write_table

logger = logging.getLogger(__name__)

FOLDS = 5
SPLIT_COLUMNS = ("slice", "split", "fold")


def rank(names: Iterable[str], seed: int) -> list[str]:
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
    """Share ``total`` validation places among groups of the given sizes, proportionally.

    A group that has two patients or more gets its first place before any group gets more than its quota, so
    that as many groups as possible stand on both sides; then the largest remainder decides, and among equals
    the order of ``sizes``. No group gives all of its patients unless nothing else is left.
    """
    quota = {group: size * total / max(sum(sizes.values()), 1) for group, size in sizes.items()}
    places: Counter[str] = Counter()
    for _ in range(total):
        open_groups = [group for group in sizes if places[group] < sizes[group] - 1] or [
            group for group in sizes if places[group] < sizes[group]
        ]
        places[max(open_groups, key=lambda g: (places[g] == 0, quota[g] - places[g], sizes[g]))] += 1
    return places


def validation_patients(groups: Mapping[str, str], fraction: float, seed: int, stratify: bool) -> set[str]:
    """Choose the validation patients.

    Args:
        groups: patient -> pathology group.
        fraction: share of the patients, in [0, 1).
        seed: of the ranking.
        stratify: whether every group gives its share.
    """
    total = validation_count(len(groups), fraction)
    if not stratify:
        return set(rank(groups, seed)[:total])
    members = defaultdict(list)
    for patient, group in groups.items():
        members[group].append(patient)
    places = share_by_group({group: len(members[group]) for group in rank(members, seed)}, total)
    return {name for group, names in members.items() for name in rank(names, seed)[: places[group]]}


def assign_folds(groups: Mapping[str, str], seed: int) -> dict[str, int]:
    """Deal patients to folds 0 to 4, group by group, so that each fold has its share of each group."""
    ordered = sorted(rank(groups, seed), key=lambda patient: groups[patient])
    return {patient: position % FOLDS for position, patient in enumerate(ordered)}


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
