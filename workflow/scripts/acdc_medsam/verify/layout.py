"""Checks on the dataset as a whole: the split, the folders, the files of each slice, and the positional encoding."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row
from acdc_medsam.layout import (
    DATASET,
    ENCODING_SHAPE,
    LATER_FILES,
    MANIFEST,
    POSITIONAL_ENCODING,
    expected_folders,
    image_folder,
    metadata_files,
    published_splits,
)
from acdc_medsam.stages.split_rule import STRATIFIED, SplitRule
from acdc_medsam.stages.stratified import FOLDS
from acdc_medsam.verify.checks import (
    APART,
    BALANCED,
    COUNTS,
    ENCODING,
    FOLDERS,
    HAS_EMBEDDING,
    HAS_MASK,
    ONE_ENCODING,
    Check,
    Checks,
    Expectations,
    Finding,
)
from acdc_medsam.verify.files import Records, check_record, read_tensor

SUFFIXES = {"images": ".png", "masks": ".png", "image_embeddings": ".pt"}
"""Folder of a split -> suffix of the files in it."""


def check_split(rows: Sequence[Row], expected: Expectations, checks: Checks) -> None:
    """Check that no patient is in two splits, and the shares of val and of the pathology groups, if they are promised.

    Args:
        rows: The manifest.
        expected: What the configuration asks for.
        checks: The checks that the items are added to.
    """
    _check_patients_apart(rows, expected, checks[APART])

    rule = expected.split
    # Patients of test are not divided between train and val.
    training = [row for row in rows if row["split"] != "test"]
    patients = {row["patient"]: row for row in training}
    if rule.scheme != STRATIFIED:
        checks[BALANCED].skipped = f"split.scheme {rule.name} promises no shares: {_describe_shares(patients)}"
    elif rule.fold is not None:
        checks[BALANCED].add("groups", _describe_uneven_groups(patients))
    else:
        _check_share(training, patients, rule, checks[BALANCED])


def _check_share(training: Sequence[Row], patients: Mapping[str, Row], rule: SplitRule, check: Check) -> None:
    """Check a split by share.

    Args:
        training: Rows of the manifest that are in train or val.
        patients: Patient -> one of these rows.
        rule: How the dataset is split.
        check: The check that the items are added to.
    """
    unit = rule.unit
    split_of_unit = {row[unit]: row["split"] for row in training}
    in_val = Counter(split_of_unit.values())["val"]
    wanted = rule.validation * len(split_of_unit)

    # The share can only be met to within one patient or slice.
    close = abs(in_val - wanted) <= 1
    reason = None if close else f"{in_val} of {len(split_of_unit)} {unit}s in val, {wanted:.1f} asked for"
    check.add("fraction", reason)
    if unit == "patient" and rule.stratify:
        check.add("groups", _describe_one_sided_groups(patients, in_val))


def _check_patients_apart(rows: Sequence[Row], expected: Expectations, check: Check) -> None:
    splits_of_patient = defaultdict(set)
    for row in rows:
        splits_of_patient[row["patient"]].add(row["split"])

    if expected.split.unit == "slice":
        shared = sum(len(splits) > 1 for splits in splits_of_patient.values())
        count = len(splits_of_patient)
        check.skipped = f"split.unit is slice: {shared} of {count} patients are on both sides, as asked for"
        return

    for patient, splits in splits_of_patient.items():
        check.add(patient, f"is in {', '.join(sorted(splits))}" if len(splits) > 1 else None)


def _describe_shares(patients: Mapping[str, Row]) -> str:
    """Say how many patients of train and val are in val, and which pathology groups are on one side only."""
    in_val = Counter(row["split"] for row in patients.values())["val"]
    sides = defaultdict(set)
    for row in patients.values():
        sides[row["group"]].add(row["split"])
    one_sided = sorted(f"{group} ({split})" for group, splits in sides.items() if len(splits) == 1 for split in splits)
    groups = f"on one side only: {', '.join(one_sided)}" if one_sided else "each group is on both sides"
    return f"{in_val} of {len(patients)} patients of train and val are in val, {groups}"


def _describe_uneven_groups(patients: Mapping[str, Row]) -> str | None:
    """Name the groups of which val, which is a fold, does not have its share to within one patient."""
    sizes = Counter(row["group"] for row in patients.values())
    in_val = Counter(row["group"] for row in patients.values() if row["split"] == "val")
    uneven = sorted(group for group, size in sizes.items() if abs(in_val[group] - size / FOLDS) >= 1)
    words = (f"{group} {in_val[group]} of {sizes[group]}" for group in uneven)
    return f"not a fifth in val: {', '.join(words)}" if uneven else None


def _describe_one_sided_groups(patients: Mapping[str, Row], in_val: int) -> str | None:
    """Name the groups that are in train only or in val only, although both could hold some of their patients.

    A group of one patient cannot be divided, and a split of k patients cannot hold more than k groups.

    Args:
        patients: Patient -> one row of the manifest, for the training patients.
        in_val: Number of these patients in val.
    """
    sizes = Counter(row["group"] for row in patients.values())
    splits = {group: {row["split"] for row in patients.values() if row["group"] == group} for group in sizes}
    divisible = [group for group in sizes if sizes[group] > 1]
    divided = [group for group in divisible if len(splits[group]) == 2]

    if len(divided) >= min(in_val, len(patients) - in_val, len(divisible)):
        return None
    return f"on one side only: {', '.join(sorted(set(divisible) - set(divided)))}"


def check_folders(output: Path, rows: Sequence[Row], expected: Expectations, checks: Checks) -> None:
    """Check that the folders hold the files that the manifest lists, all files of each slice, and nothing else.

    Args:
        output: Root of the published layout.
        rows: The manifest.
        expected: What the configuration asks for.
        checks: The checks that the items are added to.
    """
    root = output / DATASET
    splits = published_splits(rows)
    kinds = [kind for kind in SUFFIXES if expected.embeddings or kind != "image_embeddings"]
    folders = expected_folders(splits, expected.embeddings)
    check = checks[FOLDERS]

    # Later stages write their files after this check, but an earlier run may have left them there.
    found = _list_names(root) - {*LATER_FILES}
    wanted = _wanted_names(rows, kinds, folders)
    for name in sorted(found, key=lambda name: name.split("/")):
        check.add(name, None if name in wanted else "does not belong here")
    for folder in folders:
        check.add(str(folder), None if (output / folder).is_dir() else "is missing")

    for split in splits:
        stems = {
            kind: {path.stem for path in (output / image_folder(split, kind)).glob(f"*{SUFFIXES[kind]}")}
            for kind in kinds
        }
        _check_partners(split, stems, {row["slice"] for row in rows if row["split"] == split}, checks)


def _list_names(root: Path) -> set[str]:
    """List everything below a folder, by its path relative to that folder."""
    # Strings rather than paths, for speed: a dataset has thousands of files.
    names = set[str]()
    for folder, folders, files in os.walk(root):
        above = os.path.relpath(folder, root)
        names.update(os.path.normpath(os.path.join(above, name)) for name in (*folders, *files))  # noqa: PTH118
    return names


def _wanted_names(rows: Sequence[Row], kinds: Sequence[str], folders: Sequence[Path]) -> set[str]:
    """List what must be below the dataset's folder, by its path relative to that folder."""
    parents = {parent for folder in folders for parent in folder.parents}
    paths = [
        DATASET / MANIFEST,
        *metadata_files(rows),
        *folders,
        *(path for path in parents if path.is_relative_to(DATASET)),
    ]
    if "image_embeddings" in kinds:
        paths.append(POSITIONAL_ENCODING)
    wanted = {str(path.relative_to(DATASET)) for path in paths}

    for split in {row["split"] for row in rows}:
        names = [row["slice"] for row in rows if row["split"] == split]
        for kind in kinds:
            folder = image_folder(split, kind).relative_to(DATASET)
            wanted.update(f"{folder}/{name}{SUFFIXES[kind]}" for name in names)
    return wanted


def _check_partners(split: str, stems: Mapping[str, set[str]], listed: set[str], checks: Checks) -> None:
    """Check that each slice of a split has an image, a mask and, where there are embeddings, an embedding.

    Args:
        split: Name of the split.
        stems: Kind of file -> names of the slices that have such a file.
        listed: Names of the split's slices in the manifest.
        checks: The checks that the items are added to.
    """
    for name in sorted(listed | stems["images"] | stems["masks"]):
        item = f"{split}/{name}"
        paired = name in stems["images"] and name in stems["masks"]
        checks[HAS_MASK].add(item, None if paired else "image or mask is missing")
        if "image_embeddings" in stems:
            embedded = name in stems["image_embeddings"]
            checks[HAS_EMBEDDING].add(item, None if embedded else "embedding is missing")

    counts = {kind: len(found) for kind, found in sorted(stems.items())}
    uneven = len({*counts.values(), len(listed)}) > 1
    checks[COUNTS].add(split, f"{counts}, and {len(listed)} in the manifest" if uneven else None)


def find_positional_encodings(output: Path) -> list[Path]:
    """Find all files of the dataset that are named like a positional encoding. There must be exactly one."""
    return sorted(path for path in (output / DATASET).rglob("pe*.pt") if path.is_file())


def check_positional_encoding(output: Path, records: Records) -> list[Finding]:
    """Check that the dataset has one positional encoding, of the shape that the decoder takes.

    Args:
        output: Root of the published layout.
        records: Published file -> hex sha256 that was taken when it was made.

    Returns:
        The findings on the file.
    """
    path = output / POSITIONAL_ENCODING
    item = path.name
    count = len(find_positional_encodings(output))
    try:
        shape = read_tensor(path).shape
        reason = None if shape == ENCODING_SHAPE else f"is {list(shape)}"
    except DatasetError as error:
        reason = str(error)

    return [
        check_record(path, records),
        (ENCODING, item, reason),
        (ONE_ENCODING, item, None if count == 1 else f"{count} of them"),
    ]
