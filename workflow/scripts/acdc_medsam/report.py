"""Stage report: manifest, checks and pictures of the published dataset -> one self-contained page.

In: ``data/ACDC``. Out: ``report.html``, which opens from disk and asks nothing of the network.
"""

import base64
import io
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image

from acdc_medsam.dataset import GROUPS, LABELS, PHASES, SPLITS
from acdc_medsam.files import Row, read_table, write_bytes
from acdc_medsam.png import read_gray
from acdc_medsam.render import PIXEL_COLUMNS, Gray

logger = logging.getLogger(__name__)

COLOURS = {"RV": (86, 180, 233), "MYO": (213, 94, 0), "LV": (240, 228, 66)}
"""Contour colours that colour-blind people can tell apart: M. Okabe and K. Ito, Color Universal Design, 2008."""

STRUCTURE_NAMES = {"RV": "right ventricle", "MYO": "myocardium", "LV": "left ventricle"}
PICTURE_SIZE = 320


@dataclass(frozen=True)
class Picture:
    """A slice to show: its row of the manifest and the picture as a data address."""

    row: Row
    address: str


def draw_contours(image: Gray, mask: Gray, size: int = PICTURE_SIZE) -> Image.Image:
    """Draw the outline of each structure onto a gray image, both (H, W); returns a picture of ``size`` pixels.

    The lines are drawn two pixels wide after resizing, in a palette of gray levels and the three colours, which keeps
    them bright and the file as small as a gray one.
    """
    gray = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
    label = np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
    levels = 256 - len(COLOURS)
    indexed = (gray.astype(np.uint16) * (levels - 1) // 255).astype(np.uint8)
    for number, structure in enumerate(COLOURS):
        inside = np.pad(label == LABELS[structure], 2)
        eroded = inside.copy()
        for axis, shift in ((0, -2), (0, 2), (1, -2), (1, 2)):
            eroded &= np.roll(inside, shift, axis)
        indexed[(inside & ~eroded)[2:-2, 2:-2]] = levels + number
    picture = Image.fromarray(indexed).convert("P")
    grays = [channel for level in range(levels) for channel in [round(level * 255 / (levels - 1))] * 3]
    picture.putpalette(grays + [channel for colour in COLOURS.values() for channel in colour])
    return picture


def picture_address(root: Path, row: Row) -> str:
    """Draw a published slice with its contours as a PNG inside a ``data:`` address."""
    folder, name = root / row["split"], f"{row['slice']}.png"
    buffer = io.BytesIO()
    draw_contours(read_gray(folder / "images" / name), read_gray(folder / "masks" / name)).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def choose_slices(rows: Sequence[Row]) -> list[Row]:
    """For each group and phase the middle slice of its first patient."""
    chosen = []
    for group in GROUPS:
        for phase in PHASES:
            of_group = [row for row in rows if row["group"] == group and row["phase"] == phase]
            of_patient = [row for row in of_group if row["patient"] == of_group[0]["patient"]]
            chosen += of_patient[len(of_patient) // 2 :][:1]
    return chosen


def count_by_split(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Per split: patients, frames, slices, slices per group, and slices that hold each structure."""
    table = []
    for split in SPLITS:
        of_split = [row for row in rows if row["split"] == split]
        if of_split or split != "test":
            table.append(
                {
                    "split": split,
                    "patients": len({row["patient"] for row in of_split}),
                    "frames": len({(row["patient"], row["frame"]) for row in of_split}),
                    "slices": len(of_split),
                    "groups": Counter(row["group"] for row in of_split),
                    "structures": {
                        key: sum(int(row[column]) > 0 for row in of_split) for key, column in PIXEL_COLUMNS.items()
                    },
                }
            )
    return table


def shared_patients(rows: Sequence[Row]) -> list[str]:
    """Patients that stand in more than one split."""
    pairs = {(row["patient"], row["split"]) for row in rows}
    return sorted(patient for patient, number in Counter(patient for patient, _ in pairs).items() if number > 1)


def write_report(manifest: Path, quality: Path, template: Path, report: Path, settings: Mapping[str, object]) -> None:
    """Write the page.

    Args:
        manifest: ``manifest.tsv``; images and masks are read beside it.
        quality: ``quality.json``.
        template: the Jinja2 template of the page.
        report: declared output.
        settings: keys of the configuration that the page shows.
    """
    rows = read_table(manifest)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        quality=json.loads(quality.read_text(encoding="utf-8")),
        settings=settings,
        splits=count_by_split(rows),
        shared=shared_patients(rows),
        groups=[group for group in GROUPS if any(row["group"] == group for row in rows)],
        pictures=[Picture(row, picture_address(manifest.parent, row)) for row in choose_slices(rows)],
        colours={STRUCTURE_NAMES[key]: f"#{bytes(colour).hex()}" for key, colour in COLOURS.items()},
        encoder=next(iter(rows), {}).get("encoder", ""),
    )
    write_bytes(report, page.encode())
    logger.info("%d slices, %d bytes", len(rows), len(page))
