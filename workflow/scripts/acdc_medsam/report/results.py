"""Section "results": how good a model that was fine-tuned on this dataset is, where there is one that was evaluated."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from acdc_medsam.acdc.labels import LABELS, PHASE_NAMES, PHASES, STRUCTURE_NAMES
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.layout import WAYS
from acdc_medsam.report.elements import Table, format_number
from acdc_medsam.report.pictures import webp_address


@dataclass(frozen=True)
class Results:
    """What the section shows of one split.

    Attributes:
        tables: The agreement of masks, and the ejection fractions.
        cases: The title, description and ``data:`` address of each picture.
        patients: The patients that were segmented.
        split: The split that they are of.
    """

    tables: Sequence[Table]
    cases: Sequence[tuple[str, str, str]]
    patients: Sequence[str]
    split: str


def results_section(metrics: Path | None, manifest: Path) -> list[Results] | None:
    """Read ``metrics.json``, and the pictures beside it.

    Args:
        metrics: The file, or None where there is none. The model that it is about lies beside it.
        manifest: The manifest of the dataset that the page is about.

    Returns:
        The results of each split that was measured, or None where there are no metrics, or those of another dataset
        or another model than the ones that are there.

    Raises:
        DatasetError: The file is damaged.
    """
    if metrics is None or not metrics.is_file():
        return None
    model = metrics.with_name("model.pth")
    try:
        content = json.loads(metrics.read_text(encoding="utf-8"))
        known = content["manifest_sha256"], content["model_sha256"]
        if not model.is_file() or known != (sha256_file(manifest), sha256_file(model)):
            return None
        return [_of_split(split, measured, metrics.parent) for split, measured in content["splits"].items()]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{metrics} cannot be read ({error!r}); delete it and run `snakemake evaluate`") from error


def _of_split(split: str, content: Mapping[str, Any], folder: Path) -> Results:
    cases = [_case(folder / "cases" / split, name, facts) for name, facts in content["cases"].items()]
    return Results([_agreement(content), _ejection(content)], cases, content["patients"], split)


def _agreement(content: Mapping[str, Any]) -> Table:
    rows = []
    for way, words in WAYS.items():
        for structure in LABELS:
            for phase in PHASES:
                one = content["ways"][way]["structures"][structure][phase]
                keys = ("dice", "hd95_mm", "assd_mm", "volume_ml", "true_volume_ml")
                cells = [words, STRUCTURE_NAMES[structure], PHASE_NAMES[phase], *(_number(one[key]) for key in keys)]
                none = content["ways"][way]["slices_without"][structure][phase]
                rows.append([*cells, str(one["missed"]), f"{none['found']} of {none['slices']}"])
    caption = (
        "Masks of whole volumes at the original resolution against the truth: means over patients of Dice, of the 95th "
        "percentile of the Hausdorff distance, of the average symmetric surface distance, and of volumes; volumes in "
        "which the structure was missed, and in how many of the slices without it it was found."
    )
    heads = [
        "masks by",
        "structure",
        "phase",
        "Dice",
        "HD95, mm",
        "ASSD, mm",
        "volume, ml",
        "true volume, ml",
        "missed",
        "found where there is none",
    ]
    return Table(caption, heads, rows, text_columns=3)


def _ejection(content: Mapping[str, Any]) -> Table:
    rows = [
        [WAYS[way], STRUCTURE_NAMES[structure], *(_number(one[key]) for key in ("mean_error", "mean_absolute_error"))]
        for way in WAYS
        for structure, one in content["ways"][way]["ejection_fraction"].items()
    ]
    heads = ["masks by", "ventricle", "mean error", "mean absolute error"]
    return Table("Error of the ejection fraction, in percentage points.", heads, rows, text_columns=2)


def _number(value: float | None) -> str:
    return "none" if value is None else format_number(value)


def _case(folder: Path, name: str, facts: Mapping[str, Any]) -> tuple[str, str, str]:
    title = f"{name.capitalize()}: {facts['volume']}, mean Dice {format_number(facts['dice'])}"
    with Image.open(folder / f"{name}.png", formats=("PNG",)) as picture:
        address = webp_address(picture.convert("RGB"), 80)
    description = f"Slices of {facts['volume']}: above the true outlines, below those of the fine-tuned model."
    return title, description, address
