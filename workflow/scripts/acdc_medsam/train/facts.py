"""What a model was trained on, in a file beside it: which patients taught it, and which ones chose its epoch."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from acdc_medsam.data.assignment import Assignment
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, Written, sha256_file, take_record, write_bytes
from acdc_medsam.formats.index import index_row, read_records, write_index
from acdc_medsam.train.folder import BEST, FACTS, INDEX, LOG
from acdc_medsam.train.options import TrainOptions

OTHERS = (BEST, LOG, FACTS)
"""Names of the files that a finished training leaves beside its model and index."""


def describe_training(rows: Iterable[Row], assignment: Assignment, options: TrainOptions) -> dict[str, Any]:
    """Name the patients and count the slices of a training.

    Args:
        rows: Rows of the manifest.
        assignment: Which slices belong to which split.
        options: Options of the training.

    Returns:
        The ``options``; and for each of ``train`` and ``val``, the names of its ``patients`` and the number of
        ``slices``.
    """
    facts: dict[str, Any] = {"options": asdict(options), "patients": {}, "slices": {}}
    rows = list(rows)
    for split in ("train", "val"):
        of_split = [row["patient"] for row in rows if assignment.split_of(row) == split]
        facts["patients"][split] = sorted(set(of_split))
        facts["slices"][split] = len(of_split)
    return facts


def write_facts(model: Written, others: Sequence[Written], identity: str, facts: Mapping[str, Any]) -> Written:
    """Write the facts of a finished training beside its model.

    Args:
        model: Record of the model.
        others: Records of the other files that the training wrote.
        identity: Identity of the training.
        facts: The facts, see :func:`describe_training`.

    Returns:
        The record of the file.
    """
    files = {record.path.name: record.sha256 for record in others}
    content = {"model_sha256": model.sha256, "files": files, "identity": identity, **facts}
    return write_bytes(model.path.with_name(FACTS), (json.dumps(content, indent=1) + "\n").encode())


def read_facts(model: Path) -> dict[str, Any] | None:
    """Read the facts of the training that made a model; None if there are none, or they are about another model.

    The digests of the training's other files are left out: the log has durations, so that they differ between equal
    trainings.
    """
    facts = _read(model)
    return None if facts is None else {key: value for key, value in facts.items() if key != "files"}


def is_finished(model: Path, identity: str) -> bool:
    """Whether a training of this identity has finished, and its files are still those that it wrote."""
    facts = _read(model)
    if facts is None or facts.get("identity") != identity:
        return False
    digests = {model.with_name(name): facts["files"].get(name) for name in (BEST, LOG)}
    return all(path.is_file() and sha256_file(path) == sha256 for path, sha256 in digests.items())


def _read(model: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(model.with_name(FACTS).read_text(encoding="utf-8"))
        if facts["model_sha256"] != sha256_file(model):
            return None
        patients = {split: [str(name) for name in facts["patients"][split]] for split in ("train", "val")}
        return {**facts, "patients": patients, "files": dict(facts["files"])}
    # The model may come from anywhere, and so may a file of this name.
    except (OSError, ValueError, KeyError, TypeError):
        return None


def list_training(model: Path, identity: str) -> None:
    """Write the index of a finished training anew if it is missing or damaged, see :func:`is_finished`."""
    index = model.with_name(INDEX)
    try:
        read_records(index)
    except DatasetError:
        write_training_index(model, identity, [take_record(model.with_name(name)) for name in (model.name, *OTHERS)])


def write_training_index(model: Path, identity: str, records: Iterable[Written]) -> None:
    """Write the index of the files that a training wrote."""
    index = model.with_name(INDEX)
    write_index(index, [index_row(record, index, identity=identity) for record in records], ("identity",))
