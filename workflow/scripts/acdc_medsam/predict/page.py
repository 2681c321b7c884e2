"""The page on predicted scans, which contains everything that it shows and loads nothing from the network."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from acdc_medsam.acdc.citation import REFERENCE
from acdc_medsam.acdc.labels import COLORS, PHASE_NAMES, STRUCTURE_NAMES
from acdc_medsam.acdc.naming import NAME
from acdc_medsam.formats.files import Written, write_bytes
from acdc_medsam.measures.function import MUSCLE_DENSITY
from acdc_medsam.predict.beats import VENTRICLES, Description, Examination, group_scans
from acdc_medsam.predict.curves import chart_volumes
from acdc_medsam.predict.pictures import ANIMATION, picture_name
from acdc_medsam.predict.volumes import JUMP_SHARE, JUMP_SLICES, SMOOTHING
from acdc_medsam.predict.warnings import OPEN_SHARE, SMALLEST_PART
from acdc_medsam.report.drawing import Chart
from acdc_medsam.report.elements import Table
from acdc_medsam.report.page import make_environment
from acdc_medsam.report.pictures import PICTURE_SIZE, Picture

NONE = "-"


@dataclass(frozen=True)
class Strip:
    """The slices of a scan in one frame.

    Attributes:
        title: Scan, phase and frame, in words.
        pictures: Pictures from base to apex, each with its caption.
    """

    title: str
    pictures: Sequence[tuple[Picture, str]]


@dataclass(frozen=True)
class Entry:
    """What the page shows of an examination.

    Attributes:
        anchor: Name that links lead to.
        examination: The examination.
        strips: Slices at end-diastole and end-systole.
        chart: Volumes over the beat; None for single volumes.
        still: The middle slice at end-diastole, and the ``data:`` URL of the same slice in all frames; None for single
            volumes.
        table: Volumes and function.
    """

    anchor: str
    examination: Examination
    strips: Sequence[Strip]
    chart: Chart | None
    still: tuple[Picture, str] | None
    table: Table


def write_page(
    path: Path,
    template: Path,
    descriptions: Sequence[Description],
    pictures: Mapping[str, Path],
    failed: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Written:
    """Write the page.

    Args:
        path: The page.
        template: The Jinja2 template of the page. The templates of its sections lie beside it.
        descriptions: Descriptions of the scans.
        pictures: Name of a scan -> folder with its pictures.
        failed: File or folder -> why it could not be segmented.
        settings: How the scans were segmented: ``software``, and what else is to be shown by its name. Values that are
            empty, or no text or number, are not shown.

    Returns:
        The record of the file.
    """
    # What needs a look comes first.
    examinations = sorted(group_scans(descriptions), key=lambda one: -len(one.warnings))
    entries = [make_entry(f"scan-{index}", one, pictures) for index, one in enumerate(examinations, start=1)]
    charts = [entry.chart for entry in entries if entry.chart]
    page = make_environment(template.parent).get_template(template.name)
    content = page.render(
        name=NAME,
        reference=REFERENCE,
        software=settings["software"],
        tiles=make_tiles(entries, descriptions, failed),
        failed=failed,
        overview=tabulate_overview(entries),
        entries=entries,
        facts=describe_settings(settings),
        compared=[scan["compared"] for scan in descriptions],
        colors=COLORS,
        structure_names=STRUCTURE_NAMES,
        density=MUSCLE_DENSITY,
        limits={
            "smoothing": len(SMOOTHING),
            "open": OPEN_SHARE,
            "part": SMALLEST_PART,
            "jump": JUMP_SHARE,
            "slices": JUMP_SLICES,
        },
        drawings={chart.name: Markup(chart.svg) for chart in charts},  # noqa: S704 - made here
    )
    return write_bytes(path, content.encode())


def make_tiles(
    entries: Sequence[Entry], descriptions: Sequence[Description], failed: Mapping[str, str]
) -> dict[str, str]:
    """Return the numbers that a reader looks for first, by their names."""
    tiles = {
        "scans segmented": len(descriptions),
        "frames": sum(len(scan["frames"]) for scan in descriptions),
        "beats with an ejection fraction": sum(entry.examination.beat is not None for entry in entries),
        "with warnings": sum(bool(entry.examination.warnings) for entry in entries),
        "files that could not be used": len(failed),
    }
    return {name: str(number) for name, number in tiles.items()}


def tabulate_overview(entries: Sequence[Entry]) -> Table:
    """Tabulate one line per examination, with a link to what the page shows of it."""
    rows = []
    for entry in entries:
        one = entry.examination
        link = Markup('<a href="#{}">{}</a>').format(entry.anchor, one.name)
        values = [_format(one.beat and one.beat.ejection_fraction(ventricle)) for ventricle in VENTRICLES]
        volumes = [_format(frame and frame[key]) for key in ("lv_ml", "rv_ml") for frame in one.phases]
        rows.append([link, str(len(one.warnings) or ""), *values, *volumes, _format(_diastole(one, "myo_g"))])
    heads = [f"{ventricle} {phase}, ml" for ventricle in VENTRICLES for phase in PHASE_NAMES]
    fractions = [f"{ventricle} ejection fraction, %" for ventricle in VENTRICLES]
    caption = "One line per cine, or per person with single volumes. Those with the most warnings come first."
    return Table(caption, ["examination", "warnings", *fractions, *heads, "mass, g"], rows)


def _diastole(one: Examination, key: str) -> float | None:
    frame = one.phases[0]
    return None if frame is None else frame[key]


def _format(value: Any) -> str:
    """Format a value with one decimal, or a dash for none."""
    return NONE if value is None else f"{value:.1f}"


def make_entry(anchor: str, examination: Examination, pictures: Mapping[str, Path]) -> Entry:
    """Put together what the page shows of an examination.

    Args:
        anchor: Name that links lead to.
        examination: The examination.
        pictures: Name of a scan -> folder with its pictures.
    """
    strips = [strip for scan in examination.scans for strip in make_strips(scan, pictures[scan["name"]])]
    first = examination.scans[0]
    is_cine = len(first["frames"]) > 1
    return Entry(
        anchor=anchor,
        examination=examination,
        strips=strips,
        chart=chart_volumes(f"{anchor}-curves", first) if is_cine else None,
        still=_find_still(first, strips[0], pictures[first["name"]]) if is_cine else None,
        table=tabulate_frames(examination),
    )


def _find_still(scan: Description, strip: Strip, folder: Path) -> tuple[Picture, str]:
    """Return the middle slice in the first strip, and its animation."""
    indices = [one["index"] for one in next(iter(scan["pictures"]["frames"].values()))["slices"]]
    picture, _ = strip.pictures[indices.index(scan["pictures"]["middle"])]
    return picture, embed(folder / ANIMATION)


def make_strips(scan: Description, folder: Path) -> list[Strip]:
    """Put together the pictures of a scan, whose files are in a folder."""
    strips = []
    for phase, of_phase in scan["pictures"]["frames"].items():
        title = f"{scan['name']}: {PHASE_NAMES.get(phase, 'unknown phase')}"
        if len(scan["frames"]) > 1:
            title += f", frame {of_phase['frame'] + 1}"
        pictures = []
        for one in of_phase["slices"]:
            names = ", ".join(STRUCTURE_NAMES[structure] for structure in one["outlines"]) or "no structure"
            picture = Picture(
                row={},
                description=f"{title}, slice {one['index']}: {names}",
                image=embed(folder / picture_name(phase, one["index"])),
                window=f"0 0 {PICTURE_SIZE} {PICTURE_SIZE}",
                outlines=one["outlines"],
            )
            pictures.append((picture, f"slice {one['index']}"))
        strips.append(Strip(title, pictures))
    return strips


def embed(path: Path) -> str:
    """Return a picture as a ``data:`` URL."""
    return f"data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode()}"


def tabulate_frames(examination: Examination) -> Table:
    """Tabulate volumes and function of an examination at end-diastole and end-systole."""
    frames = examination.phases
    beat = examination.beat
    rows = []
    for structure, name in STRUCTURE_NAMES.items():
        cells = [_format(frame and frame[f"{structure.lower()}_ml"]) for frame in frames]
        if structure in VENTRICLES and beat:
            cells += [_format(beat.stroke_volume(structure)), _format(beat.ejection_fraction(structure))]
        rows.append([name, *cells, *[NONE] * (4 - len(cells))])
    caption = f"Volumes and function. Mass of the myocardium: {_format(_diastole(examination, 'myo_g'))} g."
    heads = [f"{words}, ml" for words in PHASE_NAMES.values()]
    return Table(caption, ["structure", *heads, "stroke volume, ml", "ejection fraction, %"], rows)


def describe_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that a reader can use, by their names in words."""
    return {
        key.replace("_", " ").capitalize(): str(value)
        for key, value in settings.items()
        if key != "software" and isinstance(value, str | int | float) and value != ""
    }
