"""From one row for each volume and structure to means, and to ejection fractions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from acdc_medsam.acdc.labels import LABELS, PHASES
from acdc_medsam.evaluate.metrics import ejection_fraction

Record = Mapping[str, Any]

AVERAGED = ("dice", "hd95_mm", "assd_mm", "volume_ml", "true_volume_ml", "volume_error_ml", "slice_dice")


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that there are; None where there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def summarize(records: Sequence[Record]) -> dict[str, Any]:
    """Means of each structure, in all volumes and in those of each phase.

    ``missed`` counts volumes in which nothing of the structure was found; they have no distance.
    """
    summary: dict[str, Any] = {}
    for structure in LABELS:
        of_structure = [record for record in records if record["structure"] == structure]
        summary[structure] = {
            phase: {
                **{key: mean(record[key] for record in chosen) for key in AVERAGED},
                "volumes": len(chosen),
                "missed": sum(record["hd95_mm"] is None for record in chosen),
            }
            for phase, chosen in (
                ("all", of_structure),
                *((phase, [record for record in of_structure if record["phase"] == phase]) for phase in PHASES),
            )
        }
    return summary


def count_found_without(records: Sequence[Record]) -> dict[str, Any]:
    """Count, of each structure and phase, the ``slices`` without it, and those in which it was ``found`` all the same.

    Args:
        records: For each volume and structure ``phase``, ``slices`` and ``found``.
    """
    return {
        structure: {
            phase: {
                key: sum(
                    record[key]
                    for record in records
                    if record["structure"] == structure and phase in ("all", record["phase"])
                )
                for key in ("slices", "found")
            }
            for phase in ("all", *PHASES)
        }
        for structure in LABELS
    }


def ejection_fractions(records: Sequence[Record]) -> dict[str, Any]:
    """Ejection fractions of both ventricles in percent, of each patient with both phases, and their errors."""
    found: dict[str, Any] = {}
    for structure in ("LV", "RV"):
        volumes = {
            (record["patient"], record["phase"]): record for record in records if record["structure"] == structure
        }
        patients = {}
        for patient in sorted({name for name, _ in volumes}):
            pair = [volumes.get((patient, phase)) for phase in PHASES]
            if pair[0] is None or pair[1] is None:
                continue
            predicted, true = (ejection_fraction(pair[0][key], pair[1][key]) for key in ("volume_ml", "true_volume_ml"))
            error = None if predicted is None or true is None else predicted - true
            patients[patient] = {"percent": predicted, "true_percent": true, "error": error}
        errors = [one["error"] for one in patients.values()]
        found[structure] = {
            "mean_error": mean(errors),
            "mean_absolute_error": mean(None if error is None else abs(error) for error in errors),
            "patients": patients,
        }
    return found
