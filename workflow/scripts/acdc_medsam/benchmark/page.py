"""The page of a benchmark, which contains everything that it shows and loads nothing from the network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from acdc_medsam.acdc.citation import REFERENCE
from acdc_medsam.acdc.labels import LABELS, PHASE_NAMES, PHASES
from acdc_medsam.acdc.naming import NAME
from acdc_medsam.acdc.published_results import CHALLENGE_SOURCE, DIFFERENCES
from acdc_medsam.benchmark.charts import draw_bland_altman, draw_dots, mean_lines
from acdc_medsam.benchmark.folds import Fold
from acdc_medsam.benchmark.summary import (
    ALL,
    MAIN_WAY,
    VENTRICLES,
    Line,
    ejection_fractions,
    find_line,
    order_ways,
    scores_of,
    values_by_patient,
)
from acdc_medsam.benchmark.tables import (
    format_value,
    tabulate_challenge,
    tabulate_errors,
    tabulate_folds,
    tabulate_masks,
    tabulate_mean_dice,
    tabulate_patients,
)
from acdc_medsam.layout import WAYS
from acdc_medsam.report.drawing import Chart
from acdc_medsam.report.page import make_environment
from acdc_medsam.stages.folds import TEST
from acdc_medsam.stages.split_rule import folds_of_scheme


def render_page(template: Path, folds: Sequence[Fold], lines: Sequence[Line], settings: Mapping[str, Any]) -> str:
    """Lay out the page.

    Args:
        template: The Jinja2 template of the page. The templates of its sections lie beside it.
        folds: What was measured in each fold.
        lines: The summary.
        settings: Configuration keys: ``encoder``, ``precision``, ``scheme``, ``seed``, ``validation`` and ``folds``.
    """
    units = folds[0].units
    dots = draw_dots("dots", "Dice without prompts", collect_dots(folds), mean_lines(lines, MAIN_WAY, "dice"))
    agreement = draw_agreement(folds)
    charts = [dots, *agreement]
    boxes = [
        (WAYS[way], tabulate_masks(lines, way, units), tabulate_errors(lines, way, units))
        for way in order_ways()
        if way != MAIN_WAY
    ]
    page = make_environment(template.parent).get_template(template.name)
    return page.render(
        name=NAME,
        reference=REFERENCE,
        software=folds[0].software,
        tiles=make_tiles(folds, lines),
        facts=describe_settings(folds, settings),
        cautions=find_cautions(folds, settings),
        masks=tabulate_masks(lines, MAIN_WAY, units),
        mean_dice=tabulate_mean_dice(lines, describe_patients(folds)),
        challenge=tabulate_challenge(lines),
        challenge_source=CHALLENGE_SOURCE,
        differences=DIFFERENCES,
        dots=dots,
        patients=tabulate_patients(folds),
        errors=tabulate_errors(lines, MAIN_WAY, units),
        agreement=agreement,
        boxes=boxes,
        folds=tabulate_folds(folds),
        drawings={chart.name: Markup(chart.svg) for chart in charts},  # noqa: S704 - made here
    )


def make_tiles(folds: Sequence[Fold], lines: Sequence[Line]) -> dict[str, str]:
    """Return the numbers that a reader looks for first, by their names."""
    dice = find_line(lines, MAIN_WAY, ALL, ALL, "dice")
    tiles = {"mean Dice without prompts": format_value(dice.mean, 3)}
    if dice.low is not None:
        tiles["its 95 % interval"] = f"{format_value(dice.low, 3)} to {format_value(dice.high, 3)}"
    for structure in VENTRICLES:
        error = find_line(lines, MAIN_WAY, structure, "", "ejection_fraction_error")
        tiles[f"bias of the ejection fraction of {structure}, points"] = format_value(error.mean, 1)
    return tiles | {"patients measured": str(count_patients(folds)), "folds": str(len(folds))}


def count_patients(folds: Sequence[Fold]) -> int:
    """Count the patients that were measured."""
    return sum(len(fold.patients) for fold in folds)


def describe_patients(folds: Sequence[Fold]) -> str:
    """Say which patients were measured."""
    if folds[0].name == TEST:
        return f"{count_patients(folds)} patients of test"
    return f"{count_patients(folds)} patients, cross-validation over {len(folds)} folds"


def describe_settings(folds: Sequence[Fold], settings: Mapping[str, Any]) -> dict[str, str]:
    """Describe what was run, by the names of the facts."""
    options = folds[0].training["options"]
    share = f"{100 * settings['validation']:g} % of the patients that are not measured"
    taught = "all patients that are neither measured nor choose the epoch"
    if options["patients"] is not None:
        taught = f"{options['patients']} patients in each fold"
    return {
        "Encoder": f"{settings['encoder']}, {settings['precision']}",
        "Scheme": f"{settings['scheme']}, seed {settings['seed']}",
        "Measured": describe_patients(folds),
        "Trained on": taught,
        "Epoch": f"chosen from {options['epochs']} by {'val' if folds[0].name == TEST else share}",
        "Learning rate": f"{options['learning_rate']:g}",
        "Seed of the training": str(options["seed"]),
    }


def find_cautions(folds: Sequence[Fold], settings: Mapping[str, Any]) -> list[str]:
    """List what keeps the result from being the one of the whole scheme with all patients."""
    cautions = []
    missing = set(folds_of_scheme(settings["scheme"])) - set(settings["folds"].values())
    if folds[0].name != TEST and missing:
        numbers = ", ".join(map(str, sorted(missing)))
        cautions.append(f"Folds {numbers} of the scheme were not run, so not every patient was measured.")
    budget = folds[0].training["options"]["patients"]
    if budget is not None:
        cautions.append(f"Only {budget} patients were trained on in each fold (train.patients).")
    if count_patients(folds) < 10:
        cautions.append(
            f"{count_patients(folds)} patients are few: the interval is too narrow, and the result may be chance."
        )
    return cautions


def collect_dots(folds: Sequence[Fold]) -> dict[tuple[str, str], list[float]]:
    """Collect each patient's Dice without prompts by structure and phase."""
    scores = scores_of(folds, MAIN_WAY)
    return {
        (structure, phase): [
            value for value in values_by_patient(scores, structure, phase, "dice").values() if value is not None
        ]
        for structure in LABELS
        for phase in PHASES
    }


def draw_agreement(folds: Sequence[Fold]) -> list[Chart]:
    """Draw Bland-Altman plots of ejection fractions and volumes without prompts."""
    charts = []
    for structure in VENTRICLES:
        pairs = {
            patient: (facts["percent"], facts["true_percent"])
            for patient, facts in ejection_fractions(folds, MAIN_WAY, structure).items()
            if facts["error"] is not None
        }
        charts.append(draw_bland_altman(f"ef-{structure}", structure, "Ejection fraction", "%", pairs))

    unit = folds[0].units.volume
    scores = scores_of(folds, MAIN_WAY)
    for structure in LABELS:
        for phase in PHASES:
            predicted, true = (
                values_by_patient(scores, structure, phase, f"{key}_{unit}") for key in ("volume", "true_volume")
            )
            pairs = {patient: (value, true[patient]) for patient, value in predicted.items()}
            quantity = f"Volume in {PHASE_NAMES[phase]}"
            charts.append(draw_bland_altman(f"volume-{structure}-{phase}", structure, quantity, unit, pairs))
    return charts
