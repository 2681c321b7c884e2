"""Section "benchmark": the main result of a benchmark on this dataset, if there is one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.acdc.labels import PHASE_NAMES, STRUCTURE_NAMES
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.report.elements import Table


@dataclass(frozen=True)
class Benchmark:
    """What the section shows.

    Attributes:
        table: Table of the Dice without prompts.
        measured: Which patients were measured, in words.
        cautions: What keeps the result from being the one of the whole scheme with all patients.
        page: Name of the benchmark's own page, with its folders below the output folder.
    """

    table: Table
    measured: str
    cautions: Sequence[str]
    page: str


def benchmark_section(results: Path | None, manifest: Path) -> Benchmark | None:
    """Read ``benchmark.json``.

    Args:
        results: The file ``benchmark.json``, which need not exist, or None.
        manifest: The file ``manifest.tsv`` of the dataset that the page is about.

    Returns:
        The main result, or None if there is no benchmark, or if it is about another state of the dataset.

    Raises:
        DatasetError: The file is damaged.
    """
    if results is None or not results.is_file():
        return None
    try:
        content = json.loads(results.read_text(encoding="utf-8"))
        if content["manifest_sha256"] != sha256_file(manifest):
            return None
        rows = [
            [
                STRUCTURE_NAMES.get(line["structure"], "all"),
                PHASE_NAMES.get(line["phase"], "both phases"),
                *_format(line),
            ]
            for line in content["summary"]
            if (line["way"], line["measure"]) == ("fine_tuned", "dice")
        ]
        heads = ["structure", "phase", "Dice", "95 % interval", "patients"]
        table = Table("Dice of whole volumes without prompts: mean over patients.", heads, rows, text_columns=2)
        page = "/".join(results.with_suffix(".html").parts[-4:])
        return Benchmark(table, content["measured"], content["cautions"], page)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{results} cannot be read ({error!r}); delete it and run the benchmark again") from error


def _format(line: dict[str, float | None]) -> list[str]:
    mean, low, high = ("none" if line[key] is None else f"{line[key]:.3f}" for key in ("mean", "low", "high"))
    return [mean, f"{low} to {high}", str(line["patients"])]
