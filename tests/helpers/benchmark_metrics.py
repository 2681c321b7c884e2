"""Metrics of the folds of a benchmark whose summary can be worked out by hand."""

import json
from pathlib import Path
from typing import Any

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.benchmark.summary import order_ways

SETTINGS = {
    "encoder": "lite_medsam",
    "precision": "float32",
    "scheme": "nnunet",
    "seed": 2026,
    "validation": 0.2,
    "folds": {f"fold_{number}": number for number in range(5)},
}


def make_volume(patient: str, phase: str, structure: str, dice: float, volume: float, true: float) -> dict[str, Any]:
    """Score of a structure in a volume; one with a Dice of 0 was not found and has no distances."""
    distances = {"hd95_mm": 4.0, "assd_mm": 1.0} if dice else {"hd95_mm": None, "assd_mm": None}
    names = {"volume": f"{patient}_{phase}", "patient": patient, "phase": phase, "structure": structure}
    volumes = {"volume_ml": volume, "true_volume_ml": true, "volume_error_ml": volume - true}
    return {**names, "dice": dice, **distances, **volumes, "slice_dice": dice}


def measure_patient(patient: str, dice: float) -> list[dict[str, Any]]:
    """Scores of a patient whose end-systolic Dice is lower by 0.1, with 100 ml at ED and 40 ml at ES in truth."""
    number = int(patient.removeprefix("patient"))
    return [
        make_volume(patient, phase, structure, max(dice - lower, 0), true + number, true)
        for phase, lower, true in (("ED", 0.0, 100.0), ("ES", 0.1, 40.0))
        for structure in LABELS
    ]


def make_metrics(
    patients: dict[str, float], trained_on: list[str], chose: list[str], manifest_sha256: str
) -> dict[str, Any]:
    """Content of ``metrics.json`` for patients with their Dice at ED."""
    fractions = {}
    for patient in patients:
        number = int(patient.removeprefix("patient"))
        percent = 100 * (100 - 40) / (100 + number)
        fractions[patient] = {"percent": percent, "true_percent": 60.0, "error": percent - 60}
    volumes = [score for patient, dice in patients.items() for score in measure_patient(patient, dice)]
    way = {
        "volumes": volumes,
        "ejection_fraction": {ventricle: {"patients": fractions} for ventricle in ("LV", "RV")},
    }
    return {
        "software": "acdc-medsam 0.1.0",
        "manifest_sha256": manifest_sha256,
        "training": {
            "best_epoch": 7,
            "options": {"epochs": 30, "learning_rate": 0.0003, "seed": 2026, "patients": None},
            "patients": {"train": trained_on, "val": chose},
            "slices": {"train": 20, "val": 10},
        },
        "splits": {
            "test": {
                "patients": sorted(patients),
                "units": {"distance": "mm", "volume": "ml"},
                "ways": dict.fromkeys(order_ways(), way),
            }
        },
    }


def write_metrics(folder: Path, folds: list[dict[str, float]], manifest_sha256: str = "0" * 64) -> list[Path]:
    """Write the metrics of folds, given as patient -> Dice at ED, and return their folders."""
    everybody = {patient for fold in folds for patient in fold}
    folders = []
    for number, fold in enumerate(folds):
        chose, *trained_on = sorted(everybody - set(fold)) or ["patient900", "patient901"]
        path = folder / f"fold_{number}"
        path.mkdir(parents=True)
        metrics = make_metrics(fold, trained_on or ["patient902"], [chose], manifest_sha256)
        (path / "metrics.json").write_text(json.dumps(metrics))
        folders.append(path)
    return folders
