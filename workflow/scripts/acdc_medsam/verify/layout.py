"""Checks on the dataset as a whole: split, folders, partners, and the positional encoding."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row
from acdc_medsam.layout import (
    DATASET,
    EMBEDDING_SHAPE,
    LATER_FILES,
    MANIFEST,
    POSITIONAL_ENCODING,
    expected_folders,
    image_folder,
    published_splits,
)
from acdc_medsam.verify.checks import (
    APART,
    BALANCED,
    COUNTS,
    ENCODING,
    FOLDERS,
    HAS_EMBEDDING,
    HAS_MASK,
    ONE_ENCODING,
    Checks,
    Expectations,
    Finding,
)
from acdc_medsam.verify.files import Records, check_record, read_tensor

SUFFIXES = {"images": ".png", "masks": ".png", "image_embeddings": ".pt"}
"""Folder of a split -> ending of its files."""


def check_split(rows: Sequence[Row], expected: Expectations, checks: Checks) -> None:
    """Check the share of val, the groups on either side, and that no patient is on both."""
    training = [row for row in rows if row["split"] != "test"]
    unit = "patient" if expected.unit == "patient" else "slice"
    side = {row[unit]: row["split"] for row in training}
    count = Counter(side.values())["val"]
    wanted = expected.validation * len(side)
    close = abs(count - wanted) <= 1
    balanced = checks[BALANCED]
    balanced.look("fraction", None if close else f"{count} of {len(side)} {unit}s in val, {wanted:.1f} asked for")
    if expected.unit == "patient" and expected.stratify:
        balanced.look("groups", _one_sided_groups({row["patient"]: row for row in training}, count))
    splits = defaultdict(set)
    for row in rows:
        splits[row["patient"]].add(row["split"])
    apart = checks[APART]
    if expected.unit == "slice":
        shared = sum(len(of_patient) > 1 for of_patient in splits.values())
        apart.skipped = f"split.unit is slice: {shared} of {len(splits)} patients are on both sides, as asked for"
        return
    for patient, of_patient in splits.items():
        apart.look(patient, f"is in {', '.join(sorted(of_patient))}" if len(of_patient) > 1 else None)


def _one_sided_groups(patients: Mapping[str, Row], in_val: int) -> str | None:
    """Say which groups of two patients or more stand on one side alone, if train and val have room for more."""
    sizes = Counter(row["group"] for row in patients.values())
    sides = {group: {row["split"] for row in patients.values() if row["group"] == group} for group in sizes}
    can = [group for group in sizes if sizes[group] > 1]
    both = [group for group in can if len(sides[group]) == 2]
    if len(both) >= min(in_val, len(patients) - in_val, len(can)):
        return None
    return f"on one side only: {', '.join(sorted(set(can) - set(both)))}"


def check_folders(output: Path, rows: Sequence[Row], expected: Expectations, checks: Checks) -> None:
    """Check that the folders hold what the manifest says, each image with its partners, and nothing else."""
    root, splits = output / DATASET, published_splits(rows)
    folders = expected_folders(splits, expected.embeddings)
    parents = {parent for folder in folders for parent in folder.parents}
    wanted = {root / MANIFEST, *(output / path for path in [*folders, *parents])}
    wanted |= {output / POSITIONAL_ENCODING} if expected.embeddings else set()
    kinds = [kind for kind in SUFFIXES if expected.embeddings or kind != "image_embeddings"]
    for row in rows:
        for kind in kinds:
            wanted.add(output / image_folder(row["split"], kind) / f"{row['slice']}{SUFFIXES[kind]}")
    strict = checks[FOLDERS]
    later = {root / name for name in LATER_FILES}
    for path in sorted(set(root.rglob("*")) - later):
        strict.look(str(path.relative_to(root)), None if path in wanted else "does not belong here")
    for folder in folders:
        strict.look(str(folder), None if (output / folder).is_dir() else "is missing")
    for split in splits:
        stems = {
            kind: {path.stem for path in (output / image_folder(split, kind)).glob(f"*{SUFFIXES[kind]}")}
            for kind in kinds
        }
        _check_partners(split, stems, {row["slice"] for row in rows if row["split"] == split}, checks)


def _check_partners(split: str, stems: Mapping[str, set[str]], listed: set[str], checks: Checks) -> None:
    names = sorted(listed | stems["images"] | stems["masks"])
    for name in names:
        pair = name in stems["images"] and name in stems["masks"]
        checks[HAS_MASK].look(f"{split}/{name}", None if pair else "image or mask is missing")
        if "image_embeddings" in stems:
            there = name in stems["image_embeddings"]
            checks[HAS_EMBEDDING].look(f"{split}/{name}", None if there else "embedding is missing")
    counts = {kind: len(found) for kind, found in sorted(stems.items())}
    uneven = len({*counts.values(), len(listed)}) > 1
    reason = f"{counts}, and {len(listed)} in the manifest" if uneven else None
    checks[COUNTS].look(split, reason)


def positional_encodings(output: Path) -> list[Path]:
    """Every file of the dataset that is named as a positional encoding; there must be one."""
    return sorted(path for path in (output / DATASET).rglob("pe*.pt") if path.is_file())


def check_positional_encoding(output: Path, records: Records) -> list[Finding]:
    """Check that there is one positional encoding for the whole dataset, of the shape the decoder takes."""
    path = output / POSITIONAL_ENCODING
    item = path.name
    there = len(positional_encodings(output))
    try:
        shape = list(read_tensor(path)[0].shape)
        reason = None if shape == [1, *EMBEDDING_SHAPE] else f"is {shape}"
    except DatasetError as error:
        reason = str(error)
    return [
        check_record(path, records),
        (ENCODING, item, reason),
        (ONE_ENCODING, item, None if there == 1 else f"{there} of them"),
    ]
