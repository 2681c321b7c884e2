"""Section "at a glance": what the dataset holds, whether it is sound, what it was made with and on."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from acdc_medsam.formats.index import read_index_comments
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.elements import Table, format_bytes, format_count, list_first


@dataclass(frozen=True)
class Glance:
    """What is to be seen first.

    Attributes:
        tiles: numbers by what they count.
        splits: the table of splits.
        facts: what the dataset was made with, by name.
        hints: what stands out further down: the section's anchor, and what it is in words.
        warning: which patients are shared between splits, or None.
    """

    tiles: Mapping[str, str]
    splits: Table
    facts: Mapping[str, str]
    hints: Sequence[tuple[str, str]]
    warning: str | None


def at_a_glance(
    contents: Contents,
    settings: Mapping[str, object],
    manifest: Path,
    embeddings: Sequence[Path],
    hints: Sequence[tuple[str, str]],
) -> Glance:
    """Put together the first section.

    Args:
        contents: the dataset.
        settings: keys of the configuration: ``encoder``, ``precision``, ``unit``, ``validation``, ``seed``.
        manifest: its time is when the dataset was published.
        embeddings: tables of embeddings, which know the encoder's weights.
        hints: what stands out in the other sections.
    """
    published = datetime.fromtimestamp(manifest.stat().st_mtime, UTC)
    facts = {
        "Split": f"by {settings['unit']}, {100 * float(str(settings['validation'])):g} % for validation, "
        f"seed {settings['seed']}",
        **describe_encoder(settings, embeddings, contents.rows[0]["encoder"]),
        "Published": f"{published:%Y-%m-%d %H:%M} UTC by {contents.quality['software']}",
        "Machine": describe_machine(),
    }
    return Glance(count_all(contents), count_by_split(contents), facts, hints, warn_of_shared(contents))


def count_all(contents: Contents) -> dict[str, str]:
    """Patients, frames, slices and checks."""
    checks = [check for check in contents.quality["checks"].values() if not check["skipped"]]
    return {
        "patients": format_count(len(contents.by_patient())),
        "frames": format_count(len(contents.volumes)),
        "slices kept": format_count(len(contents.rows)),
        "slices left out": format_count(_left_out(contents, "all")),
        "checks passed": f"{sum(not check['failed'] for check in checks)} of {len(checks)}",
    }


def warn_of_shared(contents: Contents) -> str | None:
    """Say which patients stand in more than one split, or None."""
    shared, patients = contents.shared, contents.by_patient()
    if not shared:
        return None
    verb = "is" if len(shared) == 1 else "are"
    return (
        f"{len(shared)} of {len(patients)} patients {verb} in more than one split, so that a score on val measures "
        f"memory as well as skill: {list_first(shared)}."
    )


def count_by_split(contents: Contents) -> Table:
    """Patients, frames and slices of each split, and the slices left out because they show no structure.

    A left-out slice belongs to the split of its frame, and to none where the frame itself is in several.
    """
    of_splits = {split: [row for row in contents.rows if row["split"] == split] for split in contents.splits}
    rows = []
    for name, of_split in [*of_splits.items(), ("all", list(contents.rows))]:
        frames = {(row["patient"], row["frame"]) for row in of_split}
        apart = name == "all" or not contents.shared
        rows.append(
            [
                name,
                format_count(len({row["patient"] for row in of_split})),
                format_count(len(frames)),
                format_count(len(of_split)),
                format_count(_left_out(contents, name)) if apart else "in no split",
            ]
        )
    return Table(
        "What each split holds. Slices that show no structure are left out.",
        ("Split", "Patients", "Frames", "Slices kept", "Slices left out"),
        rows,
    )


def _left_out(contents: Contents, split: str) -> int:
    volumes = [volume for volume, row in contents.volumes.items() if split in ("all", row["split"])]
    return sum(contents.depths[volume] - contents.kept[volume] for volume in volumes)


def describe_encoder(settings: Mapping[str, object], embeddings: Sequence[Path], fingerprint: str) -> dict[str, str]:
    """Name of the encoder, its precision and the digests of its weights and of all that embeddings depend on."""
    if settings["encoder"] == "none":
        return {"Embeddings": "none: the dataset was made without an encoder (encoder.name: none)"}
    makers = {name: facts for table in embeddings for name, facts in read_index_comments(table).makers.items()}
    return {
        "Encoder": f"{settings['encoder']}, {settings['precision']}",
        "Weights (sha256)": ", ".join(sorted({facts["weights"] for facts in makers.values()})),
        "Fingerprint": fingerprint,
        "Embeddings made by": "; ".join(describe_maker(makers[name]) for name in sorted(makers)),
    }


def describe_maker(facts: Mapping[str, Any]) -> str:
    """What made embeddings, as it was written down when they were encoded."""
    versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
    return f"{facts['software']} on {facts['device']} with {versions}; code {facts['code'][:12]}"


def describe_machine() -> str:
    """Processor, cores, memory, system and Python of the machine that writes the report, and its GPU if any."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        models = [
            line for line in information.read_text(encoding="utf-8").splitlines() if line.startswith("model name")
        ]
        processor = models[0].split(":")[1].strip() if models else processor
    memory = format_bytes(psutil.virtual_memory().total)
    return (
        f"{processor}, {os.cpu_count()} cores, {memory} of memory; {platform.system()}, "
        f"Python {platform.python_version()} (where this report was written)"
    )
