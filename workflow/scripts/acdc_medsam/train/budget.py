"""Train on few patients: which ones, so that a larger number includes the patients of a smaller one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain, zip_longest

from acdc_medsam.data.assignment import Assignment
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row
from acdc_medsam.stages.stratified import group_patients, rank


def rank_by_turns(groups: Mapping[str, str], seed: int) -> list[str]:
    """Rank patients by a seeded hash so that the pathology groups take turns.

    The first patients are as evenly spread over the groups as possible, wherever the ranking is cut off.

    Args:
        groups: Pathology group of each patient.
        seed: Seed of the ranking.

    Returns:
        All patients.
    """
    members = {group: rank(names, f"{seed}:budget") for group, names in group_patients(groups).items()}
    # The groups themselves are ranked too, so that a single patient is not always of the same group.
    turns = zip_longest(*(members[group] for group in rank(members, f"{seed}:budget")))
    return [patient for patient in chain.from_iterable(turns) if patient is not None]


def limit_training(rows: Iterable[Row], assignment: Assignment, patients: int | None, seed: int) -> Assignment:
    """Leave all but a number of patients out of the training; ``val`` and ``test`` stay as they are.

    Args:
        rows: Rows of the manifest.
        assignment: Which slices belong to which split.
        patients: Number of patients to train on; None for all.
        seed: Seed of the ranking by which they are chosen.

    Returns:
        The assignment, without the training slices of all other patients.

    Raises:
        DatasetError: There are not so many patients to train on.
    """
    if patients is None:
        return assignment

    groups = {row["patient"]: row["group"] for row in rows if assignment.split_of(row) == "train"}
    if patients > len(groups):
        raise DatasetError(
            f"train.patients is {patients}, and there are only {len(groups)} patients to train on; set it to "
            f"{len(groups)} or less, or to null for all patients"
        )
    return replace(assignment, not_trained_on=frozenset(rank_by_turns(groups, seed)[patients:]))
