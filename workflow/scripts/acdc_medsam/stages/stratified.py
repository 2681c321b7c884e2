"""The project's own split: shares and folds of patients, stratified by pathology group.

Every choice follows a ranking by a seeded hash of names. It depends neither on the order of files nor on the machine,
and adding a patient moves at most a few others.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from acdc_medsam.acdc.labels import GROUP_NAMES

FOLDS = 5
"""Number of folds for cross-validation, numbered from 0."""


def rank(names: Iterable[str], seed: int | str) -> list[str]:
    """Order names by the sha256 of seed and name. Adding or removing a name does not change the order of the others."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).digest(), name))


def validation_count(items: int, fraction: float) -> int:
    """Return how many of the items go to validation: ``fraction`` of them, rounded, but at least one on each side.

    With a fraction of 0, or fewer than two items, none go to validation.
    """
    if fraction == 0 or items < 2:
        return 0
    return min(max(math.floor(items * fraction + 0.5), 1), items - 1)


def share_by_group(sizes: Mapping[str, int], total: int) -> Counter[str]:
    """Share the seats of the validation side among groups in proportion to their sizes.

    Seats are allocated by the method of A. Sainte-Lague (1910), as in parliaments: one after the other, each to the
    group whose next seat ranks highest, where the n-th seat of a group of s patients has the rank s / (2 n - 1). Two
    rules take precedence. Every group of two or more patients gets its first seat before any group gets its second, so
    that as many groups as possible are on both sides. And no group gives its last patient to validation until nothing
    else is left, groups of one patient first.

    If a patient is added, the seats of that patient's group rank higher than before, and the ranking among the other
    groups is unchanged. The group therefore gains at most one seat, either a new one or one from another group.
    Allocation by largest remainders would let several groups exchange seats.

    Args:
        sizes: Number of patients in each group; of two groups with equal rank, the earlier one is preferred.
        total: Number of seats, at most the number of patients.

    Returns:
        Number of seats of each group.
    """
    ranked = list[tuple[int, float, int, str]]()
    for order, (group, size) in enumerate(sizes.items()):
        for seat in range(1, size + 1):
            # The list is sorted in ascending order, so the ranks are negated.
            if seat == size:
                ranked.append((2, int(size > 1), order, group))
            elif seat == 1:
                ranked.append((0, -size, order, group))
            else:
                ranked.append((1, -size / (2 * seat - 1), order, group))
    return Counter(group for *_, group in sorted(ranked)[:total])


def group_patients(groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Convert patient -> group to group -> patients."""
    members = defaultdict[str, list[str]](list)
    for patient, group in groups.items():
        members[group].append(patient)
    return dict(members)


def choose_validation(groups: Mapping[str, str], fraction: float, seed: int, stratify: bool) -> set[str]:
    """Choose the validation patients.

    Adding or removing a patient moves at most two others: in a group with as many seats as before, a newcomer may take
    the seat of one patient; a seat that is added, or passes from one group to another, moves a patient in each group.

    Args:
        groups: Pathology group of each patient.
        fraction: Fraction of the patients to choose, in [0, 1).
        seed: Seed of the ranking.
        stratify: Whether each group gets its proportional share.

    Returns:
        Names of the validation patients.
    """
    total = validation_count(len(groups), fraction)
    if not stratify:
        return set(rank(groups, seed)[:total])

    members = group_patients(groups)
    seats = share_by_group({group: len(members[group]) for group in rank(members, seed)}, total)
    return {name for group, names in members.items() for name in rank(names, seed)[: seats[group]]}


def assign_folds(groups: Mapping[str, str], seed: int) -> dict[str, int]:
    """Assign patients to folds 0 to 4, so that each fold has its share of each group to within one patient.

    The ranking of each group is cut into FOLDS blocks. Adding or removing a patient shifts each border between blocks
    by at most one patient, so that at most FOLDS - 1 others move, all of the same group.

    Args:
        groups: Pathology group of each patient, one of GROUP_NAMES.
        seed: Seed of the ranking.

    Returns:
        Patient -> fold.
    """
    folds = dict[str, int]()
    order = list(GROUP_NAMES)
    for group, names in group_patients(groups).items():
        # Blocks of a group differ by one patient if its size is no multiple of FOLDS. Each group starts with another
        # fold, so that the larger blocks of all groups do not end up in the same folds.
        first_fold = order.index(group)

        # The ranking differs from that of the split, of which val is the beginning: train would lack whole blocks.
        for position, patient in enumerate(rank(names, f"{seed}:fold")):
            block = position * FOLDS // len(names)
            folds[patient] = (first_fold + block) % FOLDS
    return folds
