"""Section "at a glance": what the dataset contains, whether it is sound, and what it was made with."""

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
from acdc_medsam.stages.split_rule import SplitRule


@dataclass(frozen=True)
class Glance:
    """What the section shows.

    Attributes:
        tiles: What is counted -> the number.
        splits: Table of splits.
        facts: Name of a fact -> the fact: what the dataset was made with.
        hints: What stands out in other sections: anchor of the section, and what it is in words.
        warning: Warning that patients are in more than one split, or None.
    """

    tiles: Mapping[str, str]
    splits: Table
    facts: Mapping[str, str]
    hints: Sequence[tuple[str, str]]
    warning: str | None


def at_a_glance(
    contents: Contents,
    settings: Mapping[str, Any],
    manifest: Path,
    embeddings: Sequence[Path],
    hints: Sequence[tuple[str, str]],
) -> Glance:
    """Compute the contents of the section.

    Args:
        contents: The dataset.
        settings: Configuration keys ``encoder`` and ``precision``, and in ``split`` the attributes of a SplitRule.
        manifest: The file ``manifest.tsv``. The dataset was published when it was last modified.
        embeddings: The tables of embeddings, which name what the embeddings were made with.
        hints: What stands out in the other sections, see :class:`Glance`.

    Returns:
        The contents of the section.
    """
    published = datetime.fromtimestamp(manifest.stat().st_mtime, UTC)
    rule = SplitRule(**settings["split"])
    facts = {
        "Split": rule.describe(),
        **({"About this split": rule.published.note} if rule.published else {}),
        **describe_remarks(contents),
        **describe_encoder(settings, embeddings, contents.rows[0]["encoder"]),
        "Published": f"{published:%Y-%m-%d %H:%M} UTC by {contents.quality['software']}",
        "Machine": describe_machine(),
    }
    return Glance(count_all(contents), count_by_split(contents), facts, hints, warn_of_shared(contents))


def count_all(contents: Contents) -> dict[str, str]:
    """Count the patients, frames, slices and checks."""
    checks = [check for check in contents.quality["checks"].values() if not check["skipped"]]
    return {
        "patients": format_count(len(contents.by_patient())),
        "frames": format_count(len(contents.volumes)),
        "slices kept": format_count(len(contents.rows)),
        "slices left out": format_count(_count_left_out(contents, "all")),
        "checks passed": f"{sum(not check['failed'] for check in checks)} of {len(checks)}",
    }


def warn_of_shared(contents: Contents) -> str | None:
    """Warn of patients that are in more than one split. Return None if there are none."""
    shared = contents.shared
    if not shared:
        return None
    verb = "is" if len(shared) == 1 else "are"
    return (
        f"{len(shared)} of {len(contents.by_patient())} patients {verb} in more than one split, "
        f"so that a score on val measures memory as well as skill: {list_first(shared)}."
    )


def count_by_split(contents: Contents) -> Table:
    """Count the patients, frames and slices of each split, and the slices left out because they show no structure.

    A slice that was left out belongs to the split of its frame, or to none if frames are divided between splits.
    """
    rows = []
    for split in [*contents.splits, "all"]:
        own = [row for row in contents.rows if split in ("all", row["split"])]
        patients = {row["patient"] for row in own}
        frames = {(row["patient"], row["frame"]) for row in own}
        counts = [format_count(len(counted)) for counted in (patients, frames, own)]
        divided = split != "all" and contents.shared
        rows.append([split, *counts, "in no split" if divided else format_count(_count_left_out(contents, split))])

    return Table(
        "What each split holds. Slices that show no structure are left out.",
        ("Split", "Patients", "Frames", "Slices kept", "Slices left out"),
        rows,
    )


def _count_left_out(contents: Contents, split: str) -> int:
    """Count the slices of the volumes of a split, or of ``all``, that are not in the dataset."""
    volumes = [volume for volume, row in contents.volumes.items() if split in ("all", row["split"])]
    return sum(contents.depths[volume] - contents.kept[volume] for volume in volumes)


def describe_encoder(settings: Mapping[str, object], embeddings: Sequence[Path], fingerprint: str) -> dict[str, str]:
    """Describe the encoder: its name, precision and weights, and the fingerprint of all that embeddings depend on."""
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
    """Describe what made some embeddings, as it was written down when they were encoded."""
    versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
    return f"{facts['software']} on {facts['device']} with {versions}; code {facts['code'][:12]}"


def describe_remarks(contents: Contents) -> dict[str, str]:
    """List what was inferred of patients, or carried along, with the number of patients; empty for NIfTI files."""
    remarks = [f"{remark} ({count} patients)" for remark, count in contents.remarks.items()]
    if not contents.has_spacing:
        remarks.append("spacing unknown, so areas are in pixels")
    return {"Source": f"H5 files: {'; '.join(remarks)}"} if remarks else {}


def describe_machine() -> str:
    """Describe the machine that writes the report: its processor, cores, memory, operating system and Python."""
    # On most Linux systems this is empty or just the architecture, so /proc/cpuinfo is read as well.
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(encoding="utf-8").splitlines()
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        processor = models[0] if models else processor

    memory = format_bytes(psutil.virtual_memory().total)
    return (
        f"{processor}, {os.cpu_count()} cores, {memory} of memory; {platform.system()}, "
        f"Python {platform.python_version()} (where this report was written)"
    )
