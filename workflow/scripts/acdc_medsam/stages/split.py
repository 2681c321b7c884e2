"""Stage split: tables of slices -> the split (train, val or test) and the fold of each slice, by one of the schemes.

The project's own scheme is in :mod:`acdc_medsam.stages.stratified`, those of others in :mod:`acdc_medsam.acdc.splits`.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from acdc_medsam.acdc.naming import patient_number
from acdc_medsam.acdc.splits import PublishedSplit
from acdc_medsam.errors import ConfigError, DatasetError
from acdc_medsam.formats.files import Row, read_sealed, write_table
from acdc_medsam.layout import SPLIT_COLUMNS
from acdc_medsam.stages.split_file import read_split_file, require_listed_patients_exist
from acdc_medsam.stages.split_rule import FILE, STRATIFIED, SplitRule
from acdc_medsam.stages.stratified import assign_folds, choose_validation, rank, validation_count

logger = logging.getLogger(__name__)


def split_patients(
    subsets: Mapping[str, str],
    groups: Mapping[str, str],
    rule: SplitRule,
    listed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Assign whole patients to splits. The rule's ``unit`` is not looked at.

    Args:
        subsets: Patient -> ``training`` or ``testing``.
        groups: Pathology group of each training patient; only the scheme ``stratified`` needs them.
        rule: How to split.
        listed: Patient -> split in the table of the scheme ``file``.

    Returns:
        Patient -> ``train``, ``val``, ``test``, or an empty text for a patient that is in no split.

    Raises:
        ConfigError: The scheme says nothing of some patients.
    """
    if rule.scheme == FILE:
        return _split_as_listed(subsets, rule, listed or {})

    training = [patient for patient, subset in subsets.items() if subset == "training"]
    if rule.published is not None:
        sides = _split_as_published(training, rule.scheme, rule.published, rule.fold)
        testing = rule.published.testing
    else:
        own = {patient: groups[patient] for patient in training}
        chosen = _choose_stratified(own, rule)
        sides = {patient: "val" if patient in chosen else "train" for patient in training}
        testing = "test"
    return {patient: sides.get(patient, testing) for patient in subsets}


def _choose_stratified(groups: Mapping[str, str], rule: SplitRule) -> set[str]:
    """Choose the validation patients among training patients of known groups."""
    if rule.fold is None:
        return choose_validation(groups, rule.validation, rule.seed, rule.stratify)
    return {patient for patient, fold in assign_folds(groups, rule.seed).items() if fold == rule.fold}


def _split_as_published(
    training: Sequence[str], scheme: str, published: PublishedSplit, fold: int | None
) -> dict[str, str]:
    """Look up training patients in a published split."""
    sides = published.divide(fold)
    unknown = [patient for patient in training if patient_number(patient) not in sides]
    if unknown:
        raise ConfigError(
            f"split.scheme {scheme} does not know {', '.join(unknown)}: it divides ACDC's training patients "
            f"{min(sides)} to {max(sides)}.\nList these patients under 'exclude' in config.yaml, or choose another "
            "split.scheme."
        )
    return {patient: sides[patient_number(patient)] for patient in training}


def _split_as_listed(patients: Mapping[str, str], rule: SplitRule, listed: Mapping[str, str]) -> dict[str, str]:
    """Look up patients of both subsets in the table of the scheme ``file``."""
    missing = [patient for patient in patients if patient not in listed]
    if missing:
        raise ConfigError(
            f"split.file: {rule.file} says nothing of {', '.join(missing)}; add a line for each, list these patients "
            "under 'exclude' in config.yaml, or choose another split.scheme"
        )
    return {patient: listed[patient] for patient in patients}


def fold_of_patients(subsets: Mapping[str, str], groups: Mapping[str, str], rule: SplitRule) -> dict[str, int]:
    """Return the fold of each training patient, or nothing for a scheme without folds; see :func:`split_patients`."""
    training = [patient for patient, subset in subsets.items() if subset == "training"]
    if rule.scheme == STRATIFIED:
        return assign_folds({patient: groups[patient] for patient in training}, rule.seed)
    folds = rule.published.fold_of_patients() if rule.published else {}
    return {patient: folds[patient_number(patient)] for patient in training if patient_number(patient) in folds}


def assign_splits(slices: Sequence[Row], rule: SplitRule, listed: Mapping[str, str] | None = None) -> list[Row]:
    """Assign each slice to a split and a fold.

    Args:
        slices: Rows with ``slice``, ``patient``, ``subset`` and ``group``.
        rule: How to split.
        listed: Patient -> split in the table of the scheme ``file``.

    Returns:
        One row of SPLIT_COLUMNS per slice. Slices of patients that are in no split have an empty ``split``, and
        patients without a fold an empty ``fold``.

    Raises:
        ConfigError: The scheme says nothing of some patients.
    """
    subsets = {row["patient"]: row["subset"] for row in slices}
    groups = {row["patient"]: row["group"] for row in slices}
    splits = split_patients(subsets, groups, rule, listed)
    folds = fold_of_patients(subsets, groups, rule)

    sides = {row["slice"]: splits[row["patient"]] for row in slices}
    if rule.unit == "slice":
        names = rank((row["slice"] for row in slices if row["subset"] == "training"), rule.seed)
        count = validation_count(len(names), rule.validation)
        sides |= {name: "val" if place < count else "train" for place, name in enumerate(names)}

    return [
        {
            "slice": row["slice"],
            "split": sides[row["slice"]],
            "fold": str(folds.get(row["patient"], "")),
            "scheme": rule.name,
        }
        for row in slices
    ]


def plan_split(
    rule: SplitRule, file: Path | None, subsets: Mapping[str, str], known: Collection[str]
) -> dict[str, str]:
    """Assign patients to splits before any job runs, as far as that needs no knowledge of their groups.

    Args:
        rule: How to split.
        file: Table of the scheme ``file``.
        subsets: Patient -> ``training`` or ``testing``.
        known: All patients in the raw folder, including those that are left out.

    Returns:
        Patient -> split, see :func:`split_patients`; empty for the scheme ``stratified``.

    Raises:
        ConfigError: The scheme says nothing of some patients, or its table cannot be used.
    """
    if rule.scheme == STRATIFIED:
        return {}
    if file is None:
        return split_patients(subsets, {}, rule)
    listed = read_split_file(file)
    require_listed_patients_exist(file, listed, known)
    return split_patients(subsets, {}, rule, {patient: entry.split for patient, entry in listed.items()})


def split_dataset(tables: Sequence[Path], table: Path, rule: SplitRule, file: Path | None = None) -> None:
    """Assign all slices of a dataset to splits and folds.

    Args:
        tables: Table of slices of each patient.
        table: Declared output with the columns SPLIT_COLUMNS.
        rule: How to split.
        file: Table of the scheme ``file``.

    Raises:
        ConfigError: The scheme says nothing of some patients, or its table cannot be used.
        DatasetError: There is no slice at all, no patient is in any split, or the scheme's table has changed since the
            run was planned.
    """
    slices = [row for path in tables for row in read_sealed(path)]
    if not slices:
        raise DatasetError(
            "no slice is left to make a dataset of: every patient is left out, or no label holds a structure; "
            "the logs of normalize and render say which, and images.keep_empty keeps slices without structures"
        )

    listed = read_split_file(file, rule.file_sha256) if file else {}
    rows = assign_splits(slices, rule, {patient: entry.split for patient, entry in listed.items()})
    counts = Counter(row["split"] for row in rows)
    if counts[""] == len(rows):
        raise DatasetError(
            f"no slice is in any split: split.scheme {rule.scheme} leaves out patients of testing/, and there are no "
            "others; choose another split.scheme in config.yaml"
        )
    if rule.is_share and rule.validation and not counts["val"]:
        logger.warning("nothing goes to val: there are fewer than two training %ss to divide", rule.unit)
    elif not rule.is_share and not (counts["val"] and counts["train"]):
        logger.warning("train or val is empty: split.scheme %s puts none of these patients there", rule.name)

    write_table(table, SPLIT_COLUMNS, rows, sealed=True)
    words = (f"{split or 'none'} {count}" for split, count in counts.items())
    logger.info("split %s; slices per split: %s", rule.describe(), ", ".join(words))
