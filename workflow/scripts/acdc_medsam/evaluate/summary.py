"""From one score per volume and structure to means, ejection fractions, and a table for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from acdc_medsam.acdc.labels import LABELS, PHASES
from acdc_medsam.evaluate.metrics import PHYSICAL, Units
from acdc_medsam.layout import WAYS
from acdc_medsam.measures.function import ejection_fraction

Score = Mapping[str, Any]
"""What was measured of one structure in one volume: ``volume``, ``patient``, ``phase``, ``structure`` and values."""


def averaged(units: Units) -> list[str]:
    """Return the keys of the values whose mean is reported."""
    distances = [f"{name}_{units.distance}" for name in ("hd95", "assd")]
    volumes = [f"{name}_{units.volume}" for name in ("volume", "true_volume", "volume_error")]
    return ["dice", *distances, *volumes, "slice_dice"]


def mean(values: Iterable[float | None]) -> float | None:
    """Compute the mean of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def select(scores: Iterable[Score], structure: str, phase: str) -> list[Score]:
    """Select the scores of a structure in a phase, or in both phases if ``phase`` is ``all``."""
    return [score for score in scores if score["structure"] == structure and phase in ("all", score["phase"])]


def summarize_way(scores: Sequence[Score], false_positives: Sequence[Score], units: Units = PHYSICAL) -> dict[str, Any]:
    """Summarize one way of predicting for ``metrics.json``.

    Args:
        scores: The scores of all volumes, see :func:`acdc_medsam.evaluate.segment.score_structure`.
        false_positives: The counts of all volumes, see :class:`acdc_medsam.evaluate.segment.Segmentation`.
        units: The units of distances and volumes in the scores.
    """
    slice_dice = {
        structure: [dice for score in select(scores, structure, "all") for dice in score["dice_per_slice"]]
        for structure in LABELS
    }
    rows = [{key: value for key, value in score.items() if key != "dice_per_slice"} for score in scores]
    return {
        "mean_slice_dice": {structure: mean(values) for structure, values in slice_dice.items()},
        "structures": average_scores(scores, units),
        "slices_without": sum_false_positives(false_positives),
        "ejection_fraction": ejection_fractions(scores, units),
        "volumes": rows,
    }


def average_scores(scores: Sequence[Score], units: Units = PHYSICAL) -> dict[str, Any]:
    """Average the scores of each structure over all volumes, and over those of each phase.

    ``missed`` counts the volumes in which nothing of the structure was predicted; they have no distances.
    """
    summary: dict[str, Any] = {}
    for structure in LABELS:
        summary[structure] = {}
        for phase in ("all", *PHASES):
            selected = select(scores, structure, phase)
            summary[structure][phase] = {
                **{key: mean(score[key] for score in selected) for key in averaged(units)},
                "volumes": len(selected),
                "missed": sum(score[f"hd95_{units.distance}"] is None for score in selected),
            }
    return summary


def sum_false_positives(counts: Sequence[Score]) -> dict[str, Any]:
    """Sum the ``slices`` without each structure, and those in which it was ``found``, over all and over each phase."""
    summary: dict[str, Any] = {}
    for structure in LABELS:
        summary[structure] = {}
        for phase in ("all", *PHASES):
            selected = select(counts, structure, phase)
            summary[structure][phase] = {key: sum(count[key] for count in selected) for key in ("slices", "found")}
    return summary


def ejection_fractions(scores: Sequence[Score], units: Units = PHYSICAL) -> dict[str, Any]:
    """Compute both ventricles' ejection fractions in percent, and their errors, for patients with both phases."""
    summary: dict[str, Any] = {}
    for structure in ("LV", "RV"):
        volumes = {(score["patient"], score["phase"]): score for score in select(scores, structure, "all")}
        patients: dict[str, Any] = {}
        for patient in sorted({name for name, _ in volumes}):
            diastole, systole = (volumes.get((patient, phase)) for phase in PHASES)
            if diastole is None or systole is None:
                continue
            predicted, true = (
                ejection_fraction(diastole[key], systole[key])
                for key in (f"volume_{units.volume}", f"true_volume_{units.volume}")
            )
            error = None if predicted is None or true is None else predicted - true
            patients[patient] = {"percent": predicted, "true_percent": true, "error": error}

        errors = [values["error"] for values in patients.values()]
        summary[structure] = {
            "mean_error": mean(errors),
            "mean_absolute_error": mean(None if error is None else abs(error) for error in errors),
            "patients": patients,
        }
    return summary


def format_table(metrics: Mapping[str, Any]) -> str:
    """Format the means of each split, way and structure as lines of text.

    Args:
        metrics: The content of ``metrics.json``.
    """
    lines: list[str] = []
    for split, of_split in metrics["splits"].items():
        units = Units(**of_split["units"])
        distances = "".join(f"{f'{name} {units.distance}':>12}" for name in ("HD95", "ASSD"))
        heads = f"{'structure':>10}{'Dice 3D':>9}{distances}{'Dice 2D':>9}{'missed':>8}"
        lines.append(f"{split:30}{heads}{'false positives':>18}")
        for way, words in WAYS.items():
            of_way = of_split["ways"][way]
            lines += [f"{words:30}{_format_structure(of_way, structure, units)}" for structure in of_way["structures"]]
    return "\n".join(lines)


def _format_structure(of_way: Mapping[str, Any], structure: str, units: Units) -> str:
    means = of_way["structures"][structure]["all"]
    distances = [means[f"{name}_{units.distance}"] for name in ("hd95", "assd")]
    values = (means["dice"], *distances, of_way["mean_slice_dice"][structure])
    numbers = [
        f"{value:{width}.{digits}f}" if value is not None else f"{'-':>{width}}"
        for value, width, digits in zip(values, (9, 12, 12, 9), (4, 2, 2, 4), strict=True)
    ]
    absent = of_way["slices_without"][structure]["all"]
    false_positives = f"{absent['found']} of {absent['slices']}"
    return f"{structure:>10}{''.join(numbers)}{means['missed']:8}{false_positives:>18}"
