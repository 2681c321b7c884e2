"""What a model was trained on, in a file beside it: which patients taught it, and which ones chose its epoch."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from acdc_medsam.data.assignment import Assignment
from acdc_medsam.formats.files import Row, Written, sha256_file, write_bytes
from acdc_medsam.train.folder import FACTS
from acdc_medsam.train.options import TrainOptions


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


def write_facts(model: Written, facts: Mapping[str, Any]) -> Written:
    """Write the facts of a training beside its model.

    Args:
        model: Record of the model.
        facts: The facts, see :func:`describe_training`.

    Returns:
        The record of the file.
    """
    content = {"model_sha256": model.sha256, **facts}
    return write_bytes(model.path.with_name(FACTS), (json.dumps(content, indent=1) + "\n").encode())


def read_facts(model: Path) -> dict[str, Any] | None:
    """Read the facts of the training that made a model; None if there are none, or they are about another model."""
    try:
        facts = json.loads(model.with_name(FACTS).read_text(encoding="utf-8"))
        if facts["model_sha256"] != sha256_file(model):
            return None
        patients = {split: [str(name) for name in facts["patients"][split]] for split in ("train", "val")}
    # The model may come from anywhere, and so may a file of this name.
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {**facts, "patients": patients}
