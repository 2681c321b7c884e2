"""Pictures of slices: the image, the outlines of its mask as vectors above it, and its embedding as colours.

And the section "pictures": for each group and phase a patient from base to apex.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from acdc_medsam.dataset import LABELS, PHASES
from acdc_medsam.errors import DatasetError
from acdc_medsam.files import Row
from acdc_medsam.measures import Floats, Measures
from acdc_medsam.png import read_gray
from acdc_medsam.render import PIXEL_COLUMNS, Gray
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.elements import PHASE_NAMES, STRUCTURE_NAMES
from acdc_medsam.store import EMBEDDING_SHAPE

SIZE = 256
"""Pixels of a picture, and units of its outlines, along each side."""

SHOWN_DEVIATIONS = 2.5
"""Standard deviations from the mean at which a colour channel of an embedding's picture is black or full."""


@dataclass(frozen=True)
class Picture:
    """A slice to show.

    Attributes:
        row: its row of the manifest.
        description: what it is and which structures it shows, in words.
        image: ``data:`` address of the image, or None where it cannot be read.
        outlines: structure -> SVG path in units of a SIZE x SIZE picture.
        embedding: ``data:`` address of the embedding's picture, or None where there is none.
        problem: why it cannot be shown, or None.
    """

    row: Row
    description: str
    image: str | None = None
    outlines: Mapping[str, str] | None = None
    embedding: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Axes:
    """Where the colours of embeddings come from: mean (256,), axes (3, 256) and deviations (3,) along them.

    ``explained`` is the share of the variance of all places of all embeddings that the three axes hold.
    """

    mean: Floats
    axes: Floats
    deviations: Floats
    explained: float


@dataclass(frozen=True)
class Series:
    """A patient's slices of one phase, from base to apex."""

    group: str
    patient: str
    phase: str
    pictures: Sequence[Picture]


def principal_axes(measures: Measures) -> Axes:
    """Find the three axes along which the vectors at all places of all embeddings differ most.

    The sign of an axis is chosen so that its largest component is positive, or it would be left to chance.
    """
    mean = measures.pooled.mean((0, 2, 3), dtype=np.float64)
    variances, vectors = np.linalg.eigh(measures.token_products / measures.tokens - np.outer(mean, mean))
    axes = vectors[:, :-4:-1].T
    axes *= np.sign(axes[np.arange(3), np.abs(axes).argmax(1)])[:, np.newaxis]
    shown = np.maximum(variances[:-4:-1], np.finfo(float).tiny)
    return Axes(mean, axes, np.sqrt(shown), float(shown.sum() / max(variances.sum(), np.finfo(float).tiny)))


def embedding_colours(embedding: npt.NDArray[np.float32], axes: Axes) -> Gray:
    """Turn an embedding (256, 64, 64) into a picture (64, 64, 3): one axis per colour channel."""
    vectors = embedding.reshape(EMBEDDING_SHAPE[0], -1)
    along = (axes.axes @ (vectors - axes.mean[:, np.newaxis])) / axes.deviations[:, np.newaxis]
    shown = np.clip((along / SHOWN_DEVIATIONS + 1) / 2, 0, 1)
    return np.rint(255 * shown.T).astype(np.uint8).reshape(*EMBEDDING_SHAPE[1:], 3)


def outline_paths(mask: Gray) -> dict[str, str]:
    """Outline of each structure in a mask (H, W), as an SVG path in units of a SIZE x SIZE picture."""
    small = np.asarray(Image.fromarray(mask).resize((SIZE, SIZE), Image.Resampling.NEAREST))
    paths = {}
    for structure, value in LABELS.items():
        path = ""
        for contour in find_contours(np.pad(small == value, 1).astype(np.float32), 0.5):
            # Off the padding, and from the centres of pixels to their corners.
            points = approximate_polygon(contour, 0.6) - 0.5
            path += "M" + "L".join(f"{x:.4g} {y:.4g}" for y, x in points[:-1]) + "Z"
        if path:
            paths[structure] = path
    return paths


def webp_address(picture: Image.Image, quality: int) -> str:
    """Encode a picture as WebP inside a ``data:`` address."""
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def draw_picture(root: Path, row: Row, axes: Axes | None = None) -> Picture:
    """Draw a published slice; a file that cannot be read gives a picture that says so.

    Args:
        root: folder of the published dataset.
        row: the slice's row of the manifest.
        axes: of the embedding's colours; None leaves the embedding out.
    """
    description = describe(row)
    name = f"{row['slice']}.png"
    try:
        image = Image.fromarray(read_gray(root / row["split"] / "images" / name))
        small = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS, reducing_gap=2.0)
        outlines = outline_paths(read_gray(root / row["split"] / "masks" / name))
        embedding = None if axes is None else _draw_embedding(root / row["embedding"], axes)
    except DatasetError as error:
        return Picture(row, description, problem=str(error))
    return Picture(row, description, webp_address(small, 80), outlines, embedding)


def _draw_embedding(path: Path, axes: Axes) -> str:
    from acdc_medsam.measure_embeddings import open_embedding  # imports torch, which takes 2 s

    return webp_address(Image.fromarray(embedding_colours(open_embedding(path).numpy(), axes)), 90)


def describe(row: Row) -> str:
    """Say in words what a slice is and which structures it shows."""
    shown = [STRUCTURE_NAMES[key] for key, column in PIXEL_COLUMNS.items() if int(row[column])]
    structures = ", ".join(shown) if shown else "no structure"
    return f"{row['patient']}, {PHASE_NAMES[row['phase']]}, slice {row['slice_index']}: {structures}"


def from_base_to_apex(rows: Sequence[Row]) -> list[Row]:
    """Put the slices of one volume into order from base to apex.

    The planes of a volume run either way. The heart is wider at its base, so that its area falls towards the apex.
    """
    ordered = sorted(rows, key=lambda row: int(row["slice_index"]))
    areas = [sum(int(row[column]) for column in PIXEL_COLUMNS.values()) for row in ordered]
    middle = len(areas) // 2
    return ordered if sum(areas[:middle]) >= sum(areas[len(areas) - middle :]) else ordered[::-1]


def choose_series(contents: Contents) -> list[tuple[str, str, str, list[Row]]]:
    """For each group its first patient, and of this for each phase the slices from base to apex."""
    chosen = []
    for group in contents.groups:
        patient = min(row["patient"] for row in contents.rows if row["group"] == group)
        for phase in PHASES:
            rows = [row for row in contents.rows if row["patient"] == patient and row["phase"] == phase]
            if rows:
                chosen.append((group, patient, phase, from_base_to_apex(rows)))
    return chosen
