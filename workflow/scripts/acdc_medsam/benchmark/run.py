"""Stage benchmark: metrics of all folds -> ``benchmark.tsv``, ``benchmark.json`` and ``benchmark.html``."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from acdc_medsam.acdc.published_results import CHALLENGE_BEST, CHALLENGE_SOURCE, DIFFERENCES, MEAN_DICE
from acdc_medsam.benchmark.folds import Fold, read_folds
from acdc_medsam.benchmark.page import describe_patients, find_cautions, render_page
from acdc_medsam.benchmark.statistics import CONFIDENCE, RESAMPLES, SEED
from acdc_medsam.benchmark.summary import (
    ALL,
    COLUMNS,
    MAIN_WAY,
    VENTRICLES,
    Line,
    ejection_fractions,
    find_line,
    order_ways,
    scores_of,
    summarize,
)
from acdc_medsam.benchmark.tables import format_value
from acdc_medsam.formats.files import write_bytes, write_table
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.runtime.jobs import ON_SCREEN

logger = logging.getLogger(__name__)

TABLE, RESULTS, PAGE = "benchmark.tsv", "benchmark.json", "benchmark.html"
"""Names of the files, which lie beside the index."""


def write_benchmark(folders: Sequence[Path], template: Path, index: Path, settings: Mapping[str, Any]) -> None:
    """Put the metrics of all folds together, and write the table, the results and the page.

    Args:
        folders: Folder of each fold, with ``metrics.json``.
        template: The Jinja2 template of the page.
        index: Declared output, the index of the files, which are written beside it.
        settings: Configuration keys, see :func:`acdc_medsam.benchmark.page.render_page`.

    Raises:
        DatasetError: The metrics of a fold are missing or damaged, or the folds do not make a fair benchmark.
    """
    folds = read_folds(folders)
    lines = summarize(folds)
    results = collect_results(folds, lines, settings)
    page = render_page(template, folds, lines, settings)

    written = [
        write_table(index.with_name(TABLE), COLUMNS, [asdict(line) for line in lines]),
        write_bytes(index.with_name(RESULTS), (json.dumps(results, indent=1) + "\n").encode()),
        write_bytes(index.with_name(PAGE), page.encode()),
    ]
    write_index(index, [index_row(record, index) for record in written])
    logger.info("%s; page: %s", describe_result(folds, lines), index.with_name(PAGE), extra=ON_SCREEN)


def collect_results(folds: Sequence[Fold], lines: Sequence[Line], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the content of ``benchmark.json``: the summary, what it was computed from, and the published results."""
    return {
        "software": folds[0].software,
        # The folds are evaluated again when the manifest changes, so it is the same for all of them.
        "manifest_sha256": folds[0].manifest_sha256,
        "measured": describe_patients(folds),
        "settings": settings,
        "cautions": find_cautions(folds, settings),
        "bootstrap": {"unit": "patient", "resamples": RESAMPLES, "seed": SEED, "confidence": CONFIDENCE},
        "summary": [asdict(line) for line in lines],
        "folds": [{"fold": fold.name, "patients": fold.patients, "training": fold.training} for fold in folds],
        "volumes": {way: scores_of(folds, way) for way in order_ways()},
        "ejection_fractions": {
            way: {structure: ejection_fractions(folds, way, structure) for structure in VENTRICLES}
            for way in order_ways()
        },
        "published": {
            "mean_dice_percent": [asdict(result) for result in MEAN_DICE],
            "challenge_best_dice": {"source": CHALLENGE_SOURCE, "dice": CHALLENGE_BEST},
            "differences": DIFFERENCES,
        },
    }


def describe_result(folds: Sequence[Fold], lines: Sequence[Line]) -> str:
    """Say the main result in one line."""
    dice = find_line(lines, MAIN_WAY, ALL, ALL, "dice")
    interval = (
        f" (95 % interval {format_value(dice.low, 3)} to {format_value(dice.high, 3)})" if dice.low is not None else ""
    )
    return f"mean Dice without prompts {format_value(dice.mean, 3)}{interval}, {describe_patients(folds)}"
