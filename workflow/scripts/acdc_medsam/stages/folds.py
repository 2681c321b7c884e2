"""Stage folds: the published dataset -> for each fold of a benchmark, which patients are trained on and which measured.

The dataset stays as it is published: a fold is a table of patients, and training and evaluation read the slices from
where they are.
"""

import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from acdc_medsam.data.assignment import ASSIGNMENT_COLUMNS
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, read_table, write_table
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.stages.split import assign_folds, choose_validation

logger = logging.getLogger(__name__)

TEST = "test"
"""Name of the only fold if patients of ``test`` are held out. The folds of a scheme are ``fold_0``, ``fold_1``, ..."""


def fold_name(number: int) -> str:
    """Return the name of a fold of the scheme."""
    return f"fold_{number}"


def hold_out(
    splits: Mapping[str, str], groups: Mapping[str, str], held_out: str, validation: float, seed: int
) -> dict[str, str]:
    """Assign patients to the roles that they have in a fold.

    The held-out patients choose nothing: the epoch is chosen by a part of the other ones. Patients of ``val`` are that
    part if ``test`` is held out; otherwise each pathology group gives its share.

    Args:
        splits: Patient -> ``train``, ``val`` or ``test`` by the scheme, where ``val`` is the fold; an empty text for a
            patient that is in no split.
        groups: Pathology group of each patient.
        held_out: Split that is measured: ``val`` for a fold of the scheme, or ``test``.
        validation: Fraction of the other patients that chooses the epoch, in (0, 1).
        seed: Seed of the choice of these patients.

    Returns:
        Patient -> ``train``, ``val`` to choose the epoch, or ``test`` to be measured. With a fold held out, patients of
        the scheme's ``test`` have no role.
    """
    measured = [patient for patient, split in splits.items() if split == held_out]
    others = [patient for patient, split in splits.items() if split in ("train", "val") and split != held_out]
    choosing = {patient for patient in others if splits[patient] == "val"}
    if not choosing:
        choosing = choose_validation({patient: groups[patient] for patient in others}, validation, seed, stratify=True)

    roles = {patient: "val" if patient in choosing else "train" for patient in others}
    return {**roles, **dict.fromkeys(measured, "test")}


def require_roles(name: str, roles: Mapping[str, str]) -> None:
    """Refuse a fold in which a role has no patient.

    Args:
        name: Name of the fold.
        roles: Patient -> role, see :func:`hold_out`.

    Raises:
        DatasetError: There is no patient to train on, to choose the epoch by, or to measure.
    """
    counts = Counter(roles.values())
    if not counts["test"]:
        raise DatasetError(
            f"{name} holds out no patient, because the dataset has too few; name the other folds in benchmark.folds in "
            "config.yaml, or choose another split.scheme"
        )
    if not (counts["train"] and counts["val"]):
        raise DatasetError(
            f"{name} leaves {counts['train']} patients to train on and {counts['val']} to choose the epoch by, and "
            "needs one of each; set split.validation in config.yaml, or add patients"
        )


def digest_patients(rows: Sequence[Row]) -> dict[str, str]:
    """Compute a hex sha256 of each patient's masks and embeddings from the rows of the manifest."""
    files: defaultdict[str, list[list[str]]] = defaultdict(list)
    for row in rows:
        files[row["patient"]].append([row[key] for key in ("slice", "mask_sha256", "embedding_sha256")])
    return {patient: hashlib.sha256(json.dumps(of_patient).encode()).hexdigest() for patient, of_patient in files.items()}


def assign_fold(
    number: int | None, subsets: Mapping[str, str], groups: Mapping[str, str], validation: float, seed: int
) -> dict[str, str]:
    """Assign the patients of a dataset to the roles that they have in a fold.

    Args:
        number: Number of the fold; None to hold out ``test``.
        subsets: Patient -> ``training`` or ``testing``.
        groups: Pathology group of each patient.
        validation: Fraction of the patients that chooses the epoch, in (0, 1).
        seed: Seed of the scheme.

    Returns:
        Patient -> role, see :func:`hold_out`.
    """
    training = {patient: groups[patient] for patient, subset in subsets.items() if subset == "training"}
    splits = dict.fromkeys(subsets, "test")
    if number is None:
        chosen = choose_validation(training, validation, seed, stratify=True)
        splits |= {patient: "val" if patient in chosen else "train" for patient in training}
        return hold_out(splits, groups, "test", validation, seed)

    folds = assign_folds(training, seed)
    splits |= {patient: "val" if folds[patient] == number else "train" for patient in training}
    # Other patients choose the epoch in each fold, so that no patient is kept from all trainings.
    return hold_out(splits, groups, "val", validation, seed + 1 + number)


def write_folds(
    manifest: Path,
    tables: Mapping[str, Path],
    index: Path,
    numbers: Mapping[str, int | None],
    subsets: Mapping[str, str],
    validation: float,
    seed: int,
) -> None:
    """Write the table of each fold.

    A table has a digest of each patient's files, so it changes only if the result of its training would.

    Args:
        manifest: The manifest of the dataset.
        tables: Name of each fold -> its table, with ASSIGNMENT_COLUMNS.
        index: Declared output, the index of the tables.
        numbers: Name of each fold -> its number in the scheme; None to hold out ``test``.
        subsets: Patient -> ``training`` or ``testing``.
        validation: Fraction of the patients that chooses the epoch, in (0, 1).
        seed: Seed of the scheme.

    Raises:
        DatasetError: The manifest cannot be read, or a role has no patient in some fold.
    """
    rows = read_table(manifest)
    groups = {row["patient"]: row["group"] for row in rows}
    present = {patient: subset for patient, subset in subsets.items() if patient in groups}
    digests = digest_patients(rows)

    written = []
    for name, table in tables.items():
        roles = assign_fold(numbers[name], present, groups, validation, seed)
        require_roles(name, roles)
        lines = [
            {"patient": patient, "split": role, "group": groups[patient], "content_sha256": digests[patient]}
            for patient, role in sorted(roles.items())
        ]
        written.append(write_table(table, ASSIGNMENT_COLUMNS, lines, sealed=True))
        logger.info("%s: %s", name, dict(Counter(roles.values())))
    write_index(index, [index_row(record, index) for record in written])
