"""Section "results": how well a model segments that was fine-tuned on this dataset, if there is one."""

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
from acdc_medsam.report.pictures import encode_webp


@dataclass(frozen=True)
class Results:
    """What the section shows for one split.

    Attributes:
        tables: Tables of the agreement of masks and of ejection fractions.
        cases: Title, description and ``data:`` URL of each picture.
        patients: Names of the patients that were segmented.
        split: Name of their split.
        remark: What the measures are worth: whether these patients had a part in the training. Empty in metrics of
            earlier versions.
    """

    tables: Sequence[Table]
    cases: Sequence[tuple[str, str, str]]
    patients: Sequence[str]
    split: str
    remark: str


def results_section(metrics: Path | None, manifest: Path) -> list[Results] | None:
    """Read ``metrics.json`` and the pictures beside it.

    Args:
        metrics: The file ``metrics.json``, which need not exist, or None. The model that it is about lies beside it.
        manifest: The file ``manifest.tsv`` of the dataset that the page is about.

    Returns:
        The results of each split that was evaluated, or None if there are no metrics, or if they are about another
        dataset or another model.

    Raises:
        DatasetError: The file is damaged.
    """
    if metrics is None or not metrics.is_file():
        return None

    model = metrics.with_name("model.pth")
    try:
        content = json.loads(metrics.read_text(encoding="utf-8"))
        # Metrics of an earlier dataset or model would be misleading beside the present ones.
        known = content["manifest_sha256"], content["model_sha256"]
        if not model.is_file() or known != (sha256_file(manifest), sha256_file(model)):
            return None
        return [_read_split(split, measured, metrics.parent) for split, measured in content["splits"].items()]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{metrics} cannot be read ({error!r}); delete it and run `snakemake evaluate`") from error


def _read_split(split: str, content: Mapping[str, Any], folder: Path) -> Results:
    cases = [_read_case(folder / "cases" / split, name, facts) for name, facts in content["cases"].items()]
    tables = [_tabulate_agreement(content), _tabulate_ejection(content)]
    return Results(tables, cases, content["patients"], split, content.get("remark", ""))


def _tabulate_agreement(content: Mapping[str, Any]) -> Table:
    distance = content["units"]["distance"]
    volume = content["units"]["volume"]
    keys = ("dice", f"hd95_{distance}", f"assd_{distance}", f"volume_{volume}", f"true_volume_{volume}")
    rows = []
    for way, words in WAYS.items():
        for structure in LABELS:
            for phase in PHASES:
                measured = content["ways"][way]["structures"][structure][phase]
                without = content["ways"][way]["slices_without"][structure][phase]
                names = [words, STRUCTURE_NAMES[structure], PHASE_NAMES[phase]]
                values = [_format(measured[key]) for key in keys]
                found = f"{without['found']} of {without['slices']}"
                rows.append([*names, *values, str(measured["missed"]), found])

    caption = (
        "Masks of whole volumes at the original resolution compared with the truth: means over patients of Dice, of "
        "the 95th percentile of the Hausdorff distance, of the average symmetric surface distance, and of volumes; "
        "volumes in which the structure was missed; and in how many of the slices that do not show it, it was found."
    )
    heads = [
        "masks by",
        "structure",
        "phase",
        "Dice",
        f"HD95, {distance}",
        f"ASSD, {distance}",
        f"volume, {volume}",
        f"true volume, {volume}",
        "missed",
        "found where there is none",
    ]
    return Table(caption, heads, rows, text_columns=3)


def _tabulate_ejection(content: Mapping[str, Any]) -> Table:
    rows = []
    for way, words in WAYS.items():
        for structure, errors in content["ways"][way]["ejection_fraction"].items():
            values = [_format(errors[key]) for key in ("mean_error", "mean_absolute_error")]
            rows.append([words, STRUCTURE_NAMES[structure], *values])

    heads = ["masks by", "ventricle", "mean error", "mean absolute error"]
    return Table("Error of the ejection fraction, in percentage points.", heads, rows, text_columns=2)


def _format(value: float | None) -> str:
    return "none" if value is None else format_number(value)


def _read_case(folder: Path, name: str, facts: Mapping[str, Any]) -> tuple[str, str, str]:
    title = f"{name.capitalize()}: {facts['volume']}, mean Dice {format_number(facts['dice'])}"
    with Image.open(folder / f"{name}.png", formats=("PNG",)) as picture:
        address = encode_webp(picture.convert("RGB"), 80)
    description = f"Slices of {facts['volume']}: above the true outlines, below those of the fine-tuned model."
    return title, description, address
