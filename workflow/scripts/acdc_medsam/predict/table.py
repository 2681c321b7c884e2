"""The table of measurements."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from acdc_medsam.formats.files import Written, write_table
from acdc_medsam.predict.beats import VENTRICLES, Beat, Description, group_scans

VOLUME_COLUMNS = ("lv_ml", "rv_ml", "myo_ml", "myo_g")
"""Columns with the volume of each structure in ml, and the mass of the myocardium in g."""

FUNCTION_COLUMNS = tuple(
    f"{ventricle.lower()}_{measure}" for ventricle in VENTRICLES for measure in ("stroke_ml", "ejection_percent")
)
"""Columns with the function of both ventricles, which are empty but at end-systole."""

COLUMNS = (
    *("scan", "subject", "frame", "seconds", "phase", "named_phase"),
    *VOLUME_COLUMNS,
    *FUNCTION_COLUMNS,
    "warnings",
)


def write_measurements(path: Path, descriptions: Sequence[Description]) -> Written:
    """Write one row per frame with the columns COLUMNS.

    Stroke volume and ejection fraction belong to a beat, not to a frame. They stand in the row of its end-systolic
    frame and nowhere else, so that to keep the rows with phase ES leaves one row per beat, and a mean over the column
    counts every beat once.

    Args:
        path: The table.
        descriptions: Descriptions of the scans.

    Returns:
        The record of the file.
    """
    return write_table(path, COLUMNS, tabulate(descriptions))


def tabulate(descriptions: Sequence[Description]) -> Iterator[dict[str, str]]:
    """Yield the row of each frame, scan by scan."""
    function = {id(one.beat.es): one.beat for one in group_scans(descriptions) if one.beat}
    for scan in descriptions:
        for frame in scan["frames"]:
            row = {
                "scan": scan["name"],
                "subject": scan["subject"],
                "frame": str(frame["frame"]),
                "seconds": _format(frame["seconds"], 4),
                "phase": frame["phase"] or "",
                "named_phase": frame["named"] or "",
                **{column: _format(frame[column], 2) for column in VOLUME_COLUMNS},
                "warnings": str(len(scan["warnings"])),
            }
            yield row | _describe_function(function.get(id(frame)))


def _describe_function(beat: Beat | None) -> dict[str, str]:
    if beat is None:
        return {}
    return {
        f"{ventricle.lower()}_{name}": _format(value, 2)
        for ventricle in VENTRICLES
        for name, value in (
            ("stroke_ml", beat.stroke_volume(ventricle)),
            ("ejection_percent", beat.ejection_fraction(ventricle)),
        )
    }


def _format(value: float | None, digits: int) -> str:
    """Format a number, or an empty cell for none."""
    return "" if value is None else f"{value:.{digits}f}"
