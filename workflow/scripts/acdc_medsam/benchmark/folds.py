"""Read what was measured in each fold, and refuse a benchmark whose patients had a part in the training."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acdc_medsam.errors import DatasetError
from acdc_medsam.evaluate.metrics import Units
from acdc_medsam.train.folder import METRICS


@dataclass(frozen=True)
class Fold:
    """What was measured in a fold.

    Attributes:
        name: Name of the fold, such as ``fold_0``.
        patients: Names of the patients that were held out and measured.
        training: What the model was trained on, see :func:`acdc_medsam.train.facts.read_facts`.
        units: Units of distances and volumes.
        ways: Way of predicting -> what was measured, see :func:`acdc_medsam.evaluate.summary.summarize_way`.
        software: Name and version of the software.
        manifest_sha256: Hex sha256 of the dataset's manifest.
    """

    name: str
    patients: Sequence[str]
    training: Mapping[str, Any]
    units: Units
    ways: Mapping[str, Any]
    software: str
    manifest_sha256: str


def read_folds(folders: Sequence[Path]) -> list[Fold]:
    """Read the metrics of all folds.

    Args:
        folders: Folder of each fold, with ``metrics.json``.

    Raises:
        DatasetError: A file is missing or damaged, or the folds do not make a benchmark, see :func:`require_fair`.
    """
    folds = [_read_fold(folder / METRICS) for folder in folders]
    require_fair(folds)
    return folds


def _read_fold(path: Path) -> Fold:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        measured = content["splits"]["test"]
        return Fold(
            name=path.parent.name,
            patients=measured["patients"],
            training=content["training"] or {},
            units=Units(**measured["units"]),
            ways=measured["ways"],
            software=content["software"],
            manifest_sha256=content["manifest_sha256"],
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error!r}); delete it and run `snakemake benchmark`") from error


def require_fair(folds: Sequence[Fold]) -> None:
    """Refuse folds whose results cannot be put together, or whose patients had a part in the training.

    Raises:
        DatasetError: A patient is measured in two folds, or was trained on or chose the epoch in the fold that measures
            it; or the folds are measured in different units.
    """
    counts = Counter(patient for fold in folds for patient in fold.patients)
    repeated = sorted(patient for patient, count in counts.items() if count > 1)
    if repeated:
        raise DatasetError(
            f"{', '.join(repeated)}: measured in more than one fold; delete the folder of the benchmark and run "
            "`snakemake benchmark` again"
        )

    for fold in folds:
        used = fold.training.get("patients", {})
        if not used:
            raise DatasetError(
                f"{fold.name}: it is not known which patients its model was trained on; delete the folder of this fold "
                "and run `snakemake benchmark` again"
            )
        seen = sorted(set(fold.patients) & {patient for patients in used.values() for patient in patients})
        if seen:
            raise DatasetError(
                f"{fold.name}: {', '.join(seen)} had a part in the training of the model that is measured on them; "
                "delete the folder of this fold and run `snakemake benchmark` again"
            )

    if len({fold.units for fold in folds}) > 1:
        raise DatasetError(
            "the folds are measured in different units, because the spacing of some patients is not known; state it in "
            "patients.tsv, or leave these patients out"
        )
