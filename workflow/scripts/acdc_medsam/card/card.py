"""Stage card: describe the dataset for people (README.md, a dataset card) and for programs (croissant.json).

In: the manifest and the outcome of the checks. Out: both files. The front matter of the card follows the Hugging Face
hub.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from acdc_medsam.acdc import citation
from acdc_medsam.acdc.labels import GROUP_NAMES, GROUPS, MASK_VALUES
from acdc_medsam.acdc.naming import NAME
from acdc_medsam.card.croissant import describe_dataset
from acdc_medsam.formats.files import Row, read_table, sha256_file, write_bytes
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.layout import GROUP_ASSUMED, SPLITS
from acdc_medsam.stages.split_rule import SplitRule

logger = logging.getLogger(__name__)

SIZES = {"n<1K": 1_000, "1K<n<10K": 10_000, "10K<n<100K": 100_000}
"""Size categories of the hub -> number of slices that is the first one too large for the category."""

DESCRIPTION = (
    f"Short-axis cardiac MRI slices of {NAME} at end-diastole and end-systole, with masks of the right ventricle, the "
    "myocardium and the left ventricle{embeddings}, split for training and validation."
)


def summarize_splits(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Count the patients, frames, slices and patients per group of each split. Splits without slices are left out."""
    # Only patients from H5 files may be of an unknown group.
    shown = [group for group in GROUP_NAMES if group in GROUPS or any(row["group"] == group for row in rows)]
    table = []
    for split in SPLITS:
        of_split = [row for row in rows if row["split"] == split]
        if not of_split:
            continue

        patients = {row["patient"]: row["group"] for row in of_split}
        groups = {group: list(patients.values()).count(group) for group in shown}
        frames = {(row["patient"], row["frame"]) for row in of_split}
        counts = {"patients": len(patients), "frames": len(frames), "slices": len(of_split), "groups": groups}
        table.append({"split": split, **counts})
    return table


def size_category(slices: int) -> str:
    """Return the size category of the hub for a number of slices."""
    return next((name for name, end in SIZES.items() if slices < end), "100K<n<1M")


def write_card(
    manifest: Path,
    quality: Path,
    template: Path,
    card: Path,
    croissant: Path,
    index: Path,
    settings: Mapping[str, Any],
) -> None:
    """Write the dataset card and the Croissant description.

    Args:
        manifest: The file ``manifest.tsv``.
        quality: The file ``quality.json``.
        template: The Jinja2 template of the card.
        card: Declared output, ``README.md``.
        croissant: Declared output, ``croissant.json``.
        index: Declared output, the index of both files.
        settings: The configuration keys that the card names, and in ``split`` the attributes of a SplitRule.
    """
    rows = read_table(manifest)
    splits = summarize_splits(rows)
    embeddings = settings["encoder"] != "none"
    description = DESCRIPTION.format(embeddings=", and image embeddings of MedSAM's kind" if embeddings else "")

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701 no HTML
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        citation=citation,
        description=description,
        embeddings=embeddings,
        assumed=any(GROUP_ASSUMED in row["notes"] for row in rows),
        group_names=GROUP_NAMES,
        mask_values=MASK_VALUES,
        name=NAME,
        quality=json.loads(quality.read_text(encoding="utf-8")),
        rule=SplitRule(**settings["split"]),
        settings=settings,
        size_category=size_category(len(rows)),
        splits=splits,
    )

    content = describe_dataset(
        columns=list(rows[0]) if rows else [],
        splits=[str(row["split"]) for row in splits],
        manifest_sha256=sha256_file(manifest),
        embeddings=embeddings,
        description=description,
    )

    files = [
        write_bytes(card, page.encode()),
        write_bytes(croissant, (json.dumps(content, indent=2) + "\n").encode()),
    ]
    write_index(index, [index_row(file, index) for file in files])
    logger.info("%d slices in %d splits", len(rows), len(splits))
