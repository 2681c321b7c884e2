"""Stage card: describe the dataset for people (README.md, a dataset card) and for programs (croissant.json).

In: manifest and checks. Out: both files. The card's front matter is that of the Hugging Face hub.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from acdc_medsam.acdc import citation
from acdc_medsam.acdc.labels import GROUPS
from acdc_medsam.card.croissant import describe_dataset
from acdc_medsam.formats.files import Row, read_table, sha256_file, write_bytes
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.layout import SPLITS

logger = logging.getLogger(__name__)

SIZES = {"n<1K": 1_000, "1K<n<10K": 10_000, "10K<n<100K": 100_000}
"""The hub's size categories and the number that each ends before."""

DESCRIPTION = (
    "Short-axis cardiac MRI slices of ACDC at end-diastole and end-systole, with masks of the right ventricle, the "
    "myocardium and the left ventricle{embeddings}, split for training and validation."
)


def summarize_splits(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Count patients, frames and slices per split and group; splits without a slice are left out."""
    table = []
    for split in SPLITS:
        of_split = [row for row in rows if row["split"] == split]
        patients = {row["patient"]: row["group"] for row in of_split}
        groups = {group: list(patients.values()).count(group) for group in GROUPS}
        frames = {(row["patient"], row["frame"]) for row in of_split}
        counts = {"patients": len(patients), "frames": len(frames), "slices": len(of_split), "groups": groups}
        table += [{"split": split, **counts}] if of_split else []
    return table


def size_category(slices: int) -> str:
    """Name of the hub's category of dataset size."""
    return next((name for name, end in SIZES.items() if slices < end), "100K<n<1M")


def write_card(
    manifest: Path,
    quality: Path,
    template: Path,
    card: Path,
    croissant: Path,
    index: Path,
    settings: Mapping[str, object],
) -> None:
    """Write the dataset card and the Croissant description.

    Args:
        manifest: ``manifest.tsv``.
        quality: ``quality.json``.
        template: the Jinja2 template of the card.
        card: declared output, ``README.md``.
        croissant: declared output, ``croissant.json``.
        index: Declared output, the index of both.
        settings: keys of the configuration that the card names.
    """
    rows, checks = read_table(manifest), json.loads(quality.read_text(encoding="utf-8"))
    splits, embeddings = summarize_splits(rows), settings["encoder"] != "none"
    description = DESCRIPTION.format(embeddings=", and image embeddings of MedSAM's kind" if embeddings else "")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701 no HTML
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        citation=citation,
        description=description,
        embeddings=embeddings,
        groups=GROUPS,
        quality=checks,
        settings=settings,
        size_category=size_category(len(rows)),
        splits=splits,
    )
    files = [write_bytes(card, page.encode())]
    content = describe_dataset(
        columns=list(rows[0]) if rows else [],
        splits=[str(row["split"]) for row in splits],
        manifest_sha256=sha256_file(manifest),
        embeddings=embeddings,
        description=description,
    )
    files.append(write_bytes(croissant, (json.dumps(content, indent=2) + "\n").encode()))
    write_index(index, [index_row(file, index) for file in files])
    logger.info("%d slices in %d splits", len(rows), len(splits))
