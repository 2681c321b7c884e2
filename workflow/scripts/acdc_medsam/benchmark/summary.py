"""From the metrics of all folds to one line per way of predicting, structure, phase and measure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from acdc_medsam.acdc.labels import LABELS, PHASES
from acdc_medsam.benchmark.folds import Fold
from acdc_medsam.benchmark.statistics import describe, limits_of_agreement
from acdc_medsam.evaluate.metrics import Units
from acdc_medsam.evaluate.summary import mean, select
from acdc_medsam.layout import WAYS

MAIN_WAY = "fine_tuned"
"""Way of predicting that is the result of a benchmark; the others know where the structures are."""

ALL = "all"
"""Stands for all structures, or for both phases."""

VENTRICLES = ("LV", "RV")

PatientValues = Mapping[str, float | None]
"""Patient -> value; None where it is not defined, such as the distance to a structure that was not found."""


@dataclass(frozen=True)
class Line:
    """A line of ``benchmark.tsv``.

    Attributes:
        way: Way of predicting, a key of WAYS.
        structure: RV, MYO, LV or ``all``.
        phase: ED, ES, or ``all`` for the mean of a patient's phases; empty for ejection fractions.
        measure: ``dice``, ``hd95``, ``assd``, ``volume_error`` or ``ejection_fraction_error``. Errors are predicted
            minus true values, so their mean is the bias.
        unit: Unit of the measure; empty for Dice.
        patients: Number of patients that have a value.
        without_value: Number of patients that have none, because the structure was not found.
        mean: Mean over patients.
        sd: Standard deviation over patients.
        low: Lower end of the 95 % bootstrap interval of the mean.
        high: Upper end of it.
        lower_limit: Lower 95 % limit of agreement; None for measures that are not errors.
        upper_limit: Upper limit of agreement.
    """

    way: str
    structure: str
    phase: str
    measure: str
    unit: str
    patients: int
    without_value: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    lower_limit: float | None = None
    upper_limit: float | None = None


COLUMNS = tuple(Line.__dataclass_fields__)


def summarize(folds: Sequence[Fold]) -> list[Line]:
    """Summarize the metrics of all folds, the main way of predicting first."""
    units = folds[0].units
    lines: list[Line] = []
    for way in order_ways():
        scores = scores_of(folds, way)
        lines.append(_line(way, ALL, ALL, "dice", "", foreground_dice(scores)))
        for structure in LABELS:
            for phase in (*PHASES, ALL):
                for measure, unit, key in _measures(units):
                    values = values_by_patient(scores, structure, phase, key)
                    lines.append(_line(way, structure, phase, measure, unit, values))
        for structure in VENTRICLES:
            errors = {patient: facts["error"] for patient, facts in ejection_fractions(folds, way, structure).items()}
            lines.append(_line(way, structure, "", "ejection_fraction_error", "percentage points", errors))
    return lines


def order_ways() -> list[str]:
    """Return the ways of predicting, the main one first and then those with boxes."""
    return sorted(WAYS, key=lambda way: (way != MAIN_WAY, way))


def _measures(units: Units) -> list[tuple[str, str, str]]:
    """Return name, unit and key in ``metrics.json`` of each measure of a structure in a volume."""
    return [
        ("dice", "", "dice"),
        ("hd95", units.distance, f"hd95_{units.distance}"),
        ("assd", units.distance, f"assd_{units.distance}"),
        ("volume_error", units.volume, f"volume_error_{units.volume}"),
    ]


def _line(way: str, structure: str, phase: str, measure: str, unit: str, values: PatientValues) -> Line:
    known = [value for value in values.values() if value is not None]
    line = Line(way, structure, phase, measure, unit, without_value=len(values) - len(known), **asdict(describe(known)))
    if not measure.endswith("_error"):
        return line
    limits = limits_of_agreement(known)
    return Line(**{**asdict(line), "lower_limit": limits.lower_limit, "upper_limit": limits.upper_limit})


def scores_of(folds: Iterable[Fold], way: str) -> list[Mapping[str, Any]]:
    """Collect the scores of all volumes and structures from all folds."""
    return [score for fold in folds for score in fold.ways[way]["volumes"]]


def values_by_patient(
    scores: Sequence[Mapping[str, Any]], structure: str, phase: str, key: str
) -> dict[str, float | None]:
    """Collect one value per patient: that of a phase, or the mean of both phases.

    Args:
        scores: Scores of all volumes and structures.
        structure: RV, MYO or LV.
        phase: ED, ES, or ``all`` for the mean of the phases that have a value.
        key: Key of the value in a score.
    """
    values: dict[str, list[float | None]] = {}
    for score in select(scores, structure, phase):
        values.setdefault(score["patient"], []).append(score[key])
    return {patient: mean(of_patient) for patient, of_patient in sorted(values.items())}


def foreground_dice(scores: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Compute each patient's mean Dice over structures and phases."""
    patients = sorted({score["patient"] for score in scores})
    return {patient: mean(score["dice"] for score in scores if score["patient"] == patient) for patient in patients}


def ejection_fractions(folds: Iterable[Fold], way: str, structure: str) -> dict[str, Mapping[str, Any]]:
    """Collect the true and predicted ejection fractions of a ventricle in percent, by patient."""
    return {
        patient: facts
        for fold in folds
        for patient, facts in fold.ways[way]["ejection_fraction"][structure]["patients"].items()
    }


def find_line(lines: Iterable[Line], way: str, structure: str, phase: str, measure: str) -> Line:
    """Find a line by its names."""
    return next(
        line
        for line in lines
        if (line.way, line.structure, line.phase, line.measure) == (way, structure, phase, measure)
    )
