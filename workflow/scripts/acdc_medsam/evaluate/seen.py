"""Whether the patients that are measured had a part in the training of the model, which makes a result too good."""

from collections.abc import Mapping, Sequence
from typing import Any

Seen = dict[str, list[str]]
"""``chose_epoch``: measured patients that chose the epoch; ``trained_on``: those that the model was trained on."""


def find_seen(patients: Sequence[str], facts: Mapping[str, Any] | None) -> Seen | None:
    """Find the measured patients that had a part in the training.

    Args:
        patients: Names of the patients that are measured.
        facts: What the model was trained on, see :func:`acdc_medsam.train.facts.read_facts`.

    Returns:
        The patients that chose the epoch and those that were trained on; None if it is not known what the model was
        trained on.
    """
    if facts is None:
        return None
    parts = {"chose_epoch": "val", "trained_on": "train"}
    return {part: sorted(set(patients) & set(facts["patients"][split])) for part, split in parts.items()}


def describe_seen(split: str, patients: Sequence[str], seen: Seen | None) -> str:
    """Say in a sentence what the measures of a split are worth.

    Args:
        split: Name of the split.
        patients: Names of the patients that are measured.
        seen: Those of them that had a part in the training, see :func:`find_seen`.
    """
    if seen is None:
        return f"{split}: it is not known which patients the model was trained on and its epoch was chosen by"
    if seen["trained_on"]:
        return (
            f"{split}: the model was trained on {len(seen['trained_on'])} of these {len(patients)} patients, so the "
            "measures say how well it remembers, not how well it does on other hearts"
        )
    if seen["chose_epoch"]:
        return (
            f"{split}: {len(seen['chose_epoch'])} of these {len(patients)} patients chose the epoch of the model, so "
            "the measures are somewhat too good; patients of 'test', or `snakemake benchmark`, give fair ones"
        )
    return f"{split}: these {len(patients)} patients had no part in the training or in the choice of the epoch"
