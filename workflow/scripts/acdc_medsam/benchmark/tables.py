"""Tables of a benchmark's page."""

from collections.abc import Mapping, Sequence
from typing import Any

from acdc_medsam.acdc.labels import LABELS, PHASE_NAMES, PHASES, STRUCTURE_NAMES
from acdc_medsam.acdc.published_results import CHALLENGE_BEST, MEAN_DICE
from acdc_medsam.benchmark.folds import Fold
from acdc_medsam.benchmark.summary import (
    ALL,
    MAIN_WAY,
    VENTRICLES,
    Line,
    find_line,
    foreground_dice,
    scores_of,
    values_by_patient,
)
from acdc_medsam.evaluate.metrics import Units
from acdc_medsam.report.elements import Table

SPREAD = "mean ± standard deviation over patients, and the 95 % bootstrap interval of the mean in brackets"
NONE = "-"


def format_value(value: float | None, digits: int) -> str:
    """Format a value with a number of decimals, or a dash for none. What rounds to 0 has no sign."""
    return NONE if value is None else f"{value:z.{digits}f}"


def format_spread(line: Line, digits: int) -> str:
    """Format mean, standard deviation and interval: ``0.91 ± 0.04 [0.90, 0.92]``."""
    text = format_value(line.mean, digits)
    if line.sd is None:
        return text
    sd, low, high = (format_value(value, digits) for value in (line.sd, line.low, line.high))
    return f"{text} ± {sd} [{low}, {high}]"


def tabulate_masks(lines: Sequence[Line], way: str, units: Units) -> Table:
    """Tabulate the agreement of masks per structure and phase for one way of predicting."""
    rows = []
    for structure in LABELS:
        for phase in (*PHASES, ALL):
            dice, hd95, assd = (find_line(lines, way, structure, phase, key) for key in ("dice", "hd95", "assd"))
            names = [STRUCTURE_NAMES[structure], PHASE_NAMES.get(phase, "both phases")]
            spreads = [format_spread(dice, 3), format_spread(hd95, 2), format_spread(assd, 2)]
            rows.append([*names, *spreads, str(dice.patients), str(hd95.without_value)])
    caption = (
        f"Masks of whole volumes at the original resolution compared with the truth: {SPREAD}. A structure that "
        "was not found has a Dice of 0 and no distance."
    )
    heads = [
        "structure",
        "phase",
        "Dice",
        f"HD95, {units.distance}",
        f"ASSD, {units.distance}",
        "patients",
        "not found in",
    ]
    return Table(caption, heads, rows, text_columns=2)


def tabulate_errors(lines: Sequence[Line], way: str, units: Units) -> Table:
    """Tabulate the errors of volumes and ejection fractions for one way of predicting."""
    chosen = [
        (f"volume, {units.volume}", find_line(lines, way, structure, phase, "volume_error"))
        for structure in LABELS
        for phase in PHASES
    ]
    chosen += [
        ("ejection fraction, percentage points", find_line(lines, way, structure, "", "ejection_fraction_error"))
        for structure in VENTRICLES
    ]
    rows = []
    for quantity, line in chosen:
        limits = f"{format_value(line.lower_limit, 1)} to {format_value(line.upper_limit, 1)}"
        names = [quantity, STRUCTURE_NAMES[line.structure], PHASE_NAMES.get(line.phase, "")]
        bounds = f"[{format_value(line.low, 1)}, {format_value(line.high, 1)}]"
        rows.append([*names, format_value(line.mean, 1), bounds, format_value(line.sd, 1), limits, str(line.patients)])
    heads = ["quantity", "structure", "phase", "bias", "95 % interval", "SD", "limits of agreement", "patients"]
    caption = (
        "Predicted minus true values: bias, its 95 % bootstrap interval over patients, standard deviation, and 95 % "
        "limits of agreement after Bland and Altman."
    )
    return Table(caption, heads, rows, text_columns=3)


def tabulate_mean_dice(lines: Sequence[Line], patients: str) -> Table:
    """Put the mean Dice beside published ones.

    Args:
        lines: The summary.
        patients: Which patients were measured, in words.
    """
    own = find_line(lines, MAIN_WAY, ALL, ALL, "dice")
    percent = Line(**{**vars(own), **{key: _percent(getattr(own, key)) for key in ("mean", "sd", "low", "high")}})
    rows = [["this benchmark, without prompts", format_spread(percent, 2), patients, ""]]
    rows += [[result.method, f"{result.dice:.2f}", result.patients, result.source] for result in MEAN_DICE]
    caption = f"Mean Dice in percent over structures and phases: {SPREAD}."
    return Table(caption, ["method", "mean Dice, %", "patients", "source"], rows, text_columns=4)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def tabulate_challenge(lines: Sequence[Line]) -> Table:
    """Put the Dice of each structure and phase beside the best ones of the ACDC challenge."""
    rows = []
    for structure, phases in CHALLENGE_BEST.items():
        for phase, best in phases.items():
            own = find_line(lines, MAIN_WAY, structure, phase, "dice")
            rows.append([STRUCTURE_NAMES[structure], PHASE_NAMES[phase], format_spread(own, 3), f"{best:.3f}"])
    heads = ["structure", "phase", "Dice of this benchmark", "best of the challenge"]
    return Table("Dice without prompts, beside the best of the ACDC challenge.", heads, rows, text_columns=2)


def tabulate_patients(folds: Sequence[Fold]) -> Table:
    """List the Dice of each patient without prompts, the lowest first."""
    found = []
    for fold in folds:
        scores = scores_of([fold], MAIN_WAY)
        columns = [values_by_patient(scores, structure, phase, "dice") for structure in LABELS for phase in PHASES]
        for patient, mean in foreground_dice(scores).items():
            cells = [format_value(values.get(patient), 3) for values in columns]
            found.append((mean or 0.0, [patient, fold.name, format_value(mean, 3), *cells]))
    heads = ["patient", "fold", "mean", *(f"{structure} {phase}" for structure in LABELS for phase in PHASES)]
    rows = [row for _, row in sorted(found)]
    return Table("Dice of each patient without prompts, the lowest mean first.", heads, rows, text_columns=2)


def tabulate_folds(folds: Sequence[Fold]) -> Table:
    """Say for each fold which patients were measured, and how many taught the model and chose its epoch."""
    rows = []
    for fold in folds:
        facts: Mapping[str, Any] = fold.training
        counts = [str(len(facts["patients"][split])) for split in ("train", "val")]
        dice = foreground_dice(scores_of([fold], MAIN_WAY)).values()
        known = [value for value in dice if value is not None]
        mean = format_value(sum(known) / len(known) if known else None, 3)
        taught = [*counts, str(facts["slices"]["train"]), str(facts["best_epoch"])]
        rows.append([fold.name, ", ".join(fold.patients), *taught, mean])
    heads = ["fold", "measured patients", "trained on", "chose the epoch", "slices trained on", "epoch", "mean Dice"]
    caption = (
        "Patients of each fold. Those that are measured had no part in the training or in the choice of the epoch."
    )
    return Table(caption, heads, rows, text_columns=2)
