"""The files in a trained model's folder: their names, and how they are removed."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from acdc_medsam.acdc.naming import VOLUME_PATTERN

logger = logging.getLogger(__name__)

INDEX = "trained.tsv"
"""Index of the files that a finished training wrote; each row holds the identity of the training."""

BEST, LAST, LOG = "best.ckpt", "last.ckpt", "log.tsv"
FACTS = "training.json"
METRICS, EVALUATED = "metrics.json", "evaluated.tsv"

_PREDICTION = re.compile(VOLUME_PATTERN + r"\.nii\.gz")
_CASE = re.compile(r"(best|median|worst)\.png")


def remove_training(model: Path) -> None:
    """Remove a model and everything that training and evaluation wrote beside it; files of other names stay."""
    folder = model.parent
    remove_evaluation(folder)

    files = (folder / INDEX, model, *(folder / name for name in (FACTS, LOG, BEST, LAST)))
    present = [file for file in files if file.is_file()]
    for file in present:
        file.unlink()
    if present:
        logger.info("removed the files of an earlier training: %s", ", ".join(file.name for file in present))


def remove_evaluation(folder: Path) -> None:
    """Remove the metrics, predictions and pictures that an evaluation wrote; files of other names stay."""
    # The folder belongs to the user, who may keep notes in it, so only the workflow's own names are removed.
    for file in (folder / METRICS, folder / EVALUATED, *_predictions_and_cases(folder)):
        file.unlink(missing_ok=True)

    for name in ("predictions", "cases"):
        subfolders = [path for path in (folder / name).rglob("*") if path.is_dir() and not path.is_symlink()]
        # The innermost folders come first, so that those around them are empty by then.
        for path in (*sorted(subfolders, reverse=True), folder / name):
            if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                path.rmdir()


def _predictions_and_cases(folder: Path) -> Iterator[Path]:
    for name, pattern in (("predictions", _PREDICTION), ("cases", _CASE)):
        yield from [path for path in (folder / name).rglob("*") if pattern.fullmatch(path.name)]
