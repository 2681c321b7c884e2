"""Stage folds: the published dataset -> for each fold of a benchmark, which patients are trained on and which measured.

The dataset stays as it is published: a fold is a table of patients, and training and evaluation read the slices from
where they are.
"""

import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.errors import ConfigError, DatasetError
from acdc_medsam.formats.files import Row, read_table, write_table
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.layout import FOLD_COLUMNS
from acdc_medsam.stages.split import split_patients
from acdc_medsam.stages.split_rule import SplitRule, folds_of_scheme
from acdc_medsam.stages.stratified import choose_validation

logger = logging.getLogger(__name__)

TEST = "test"
"""Name of the only fold if the patients of ``test`` are held out."""

Folds = Mapping[str, int | None]
"""Name of a fold -> its number in the scheme: ``fold_0`` -> 0; None for TEST."""


@dataclass(frozen=True)
class BenchmarkRule:
    """Which patients a benchmark measures: what the group ``benchmark`` of the configuration says.

    Attributes:
        held_out: ``folds`` for the patients of each fold in turn, ``test`` for those of ``test``, or ``auto`` for the
            folds of a scheme that has them, else ``test``.
        folds: Numbers of the folds to run; None for all.
    """

    held_out: str = "auto"
    folds: Sequence[int] | None = None

    def plan(self, scheme: str) -> dict[str, int | None]:
        """Return the folds to run in a scheme, see Folds; those that the scheme does not have are among them."""
        of_scheme = folds_of_scheme(scheme)
        if self.held_out == "test" or (self.held_out == "auto" and not of_scheme):
            return {TEST: None}
        numbers = of_scheme if self.folds is None else self.folds
        return {f"fold_{number}": number for number in sorted(set(numbers))}


def require_folds(benchmark: BenchmarkRule, split: SplitRule, patients: int, tested: int) -> None:
    """Refuse a benchmark that the scheme has no folds for, or that the dataset has too few patients for.

    Args:
        benchmark: Which patients to measure.
        split: How the dataset is split.
        patients: Number of patients of ``training``.
        tested: Number of patients in ``test``.

    Raises:
        ConfigError: The benchmark cannot be run.
    """
    of_scheme = folds_of_scheme(split.scheme)
    planned = benchmark.plan(split.scheme)
    if TEST not in planned:
        unknown = [str(number) for number in planned.values() if number not in of_scheme]
        if unknown or not planned:
            raise ConfigError(
                f"benchmark.folds: {', '.join(unknown) or 'none'} given, and split.scheme {split.scheme} has the folds "
                f"{', '.join(map(str, of_scheme)) or 'none'}; correct benchmark.folds or benchmark.held_out in "
                "config.yaml"
            )
    elif not tested:
        raise ConfigError(
            "the benchmark is to measure the patients of 'test', and there are none; add ACDC's testing patients, or "
            "set benchmark.held_out in config.yaml to folds"
        )
    if not split.validation:
        raise ConfigError(
            "a benchmark needs patients to choose the epoch by, and split.validation is 0; set it to 0.2, for example"
        )
    if patients < (2 if TEST in planned else 3):
        raise ConfigError(
            f"a benchmark needs patients to train on, to choose the epoch by and to measure, and there are {patients} "
            "training patients; add patients"
        )


def hold_out(
    splits: Mapping[str, str], groups: Mapping[str, str], held_out: str, validation: float, seed: int
) -> dict[str, str]:
    """Assign patients to the roles that they have in a fold.

    The held-out patients choose nothing: the epoch is chosen by a part of the other ones. That part is ``val`` if
    ``test`` is held out and there is a ``val``; otherwise each pathology group gives its share.

    Args:
        splits: Patient -> ``train``, ``val`` or ``test`` by the scheme, where ``val`` is the fold; an empty text for a
            patient that is in no split.
        groups: Pathology group of each patient.
        held_out: Split that is measured: ``val`` for a fold of the scheme, or ``test``.
        validation: Fraction of the other patients that chooses the epoch, in (0, 1).
        seed: Seed of the choice of these patients.

    Returns:
        Patient -> ``train``, ``val`` to choose the epoch, or ``test`` to be measured. If a fold is held out, patients
        of the scheme's ``test`` have no role.
    """
    measured = [patient for patient, split in splits.items() if split == held_out]
    others = [patient for patient, split in splits.items() if split in ("train", "val") and split != held_out]
    choosing = {patient for patient in others if splits[patient] == "val"}
    if not choosing:
        of_others = {patient: groups[patient] for patient in others}
        choosing = choose_validation(of_others, validation, seed, stratify=True)

    roles = {patient: "val" if patient in choosing else "train" for patient in others}
    return {**roles, **dict.fromkeys(measured, "test")}


def assign_roles(
    rows: Sequence[Row], subsets: Mapping[str, str], number: int | None, split: SplitRule
) -> dict[str, str]:
    """Assign the patients of a dataset to the roles that they have in a fold.

    Args:
        rows: Rows of the manifest.
        subsets: Patient -> ``training`` or ``testing``.
        number: Number of the fold; None to hold out ``test``, for which the dataset must be split by patient.
        split: How the dataset is split.

    Returns:
        Patient -> role, see :func:`hold_out`.
    """
    groups = {row["patient"]: row["group"] for row in rows}
    if number is None:
        splits = {row["patient"]: row["split"] for row in rows}
        return hold_out(splits, groups, "test", split.validation, split.seed)

    rule = SplitRule(scheme=split.scheme, fold=number, seed=split.seed)
    splits = split_patients({patient: subsets[patient] for patient in groups}, groups, rule)
    # Other patients choose the epoch in each fold, so that no patient is kept from all trainings.
    return hold_out(splits, groups, "val", split.validation, split.seed + 1 + number)


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
            f"{name} holds out no patient, because the dataset has too few; list the other folds as benchmark.folds in "
            "config.yaml, or choose another split.scheme"
        )
    if not (counts["train"] and counts["val"]):
        raise DatasetError(
            f"{name} leaves {counts['train']} patients to train on and {counts['val']} to choose the epoch by, and "
            "needs one of each; add patients"
        )


def digest_patients(rows: Sequence[Row]) -> dict[str, str]:
    """Compute a hex sha256 of each patient's masks and embeddings from the rows of the manifest."""
    files: defaultdict[str, list[list[str]]] = defaultdict(list)
    for row in rows:
        files[row["patient"]].append([row[key] for key in ("slice", "mask_sha256", "embedding_sha256")])
    return {patient: hashlib.sha256(json.dumps(listed).encode()).hexdigest() for patient, listed in files.items()}


def write_folds(
    manifest: Path, tables: Mapping[str, Path], index: Path, folds: Folds, subsets: Mapping[str, str], split: SplitRule
) -> None:
    """Write the table of each fold.

    A table has a digest of each patient's files, so it changes only if the result of its training would.

    Args:
        manifest: The manifest of the dataset.
        tables: Name of each fold -> its table, with FOLD_COLUMNS.
        index: Declared output, the index of the tables.
        folds: The folds to run.
        subsets: Patient -> ``training`` or ``testing``.
        split: How the dataset is split.

    Raises:
        DatasetError: The manifest cannot be read, or a role has no patient in some fold.
    """
    rows = read_table(manifest)
    groups = {row["patient"]: row["group"] for row in rows}
    digests = digest_patients(rows)

    written = []
    for name, number in folds.items():
        roles = assign_roles(rows, subsets, number, split)
        require_roles(name, roles)
        lines = [
            {"patient": patient, "split": role, "group": groups[patient], "content_sha256": digests[patient]}
            for patient, role in sorted(roles.items())
        ]
        written.append(write_table(tables[name], FOLD_COLUMNS, lines, sealed=True))
        logger.info("%s: %s", name, ", ".join(f"{count} {role}" for role, count in Counter(roles.values()).items()))
    write_index(index, [index_row(record, index) for record in written])
