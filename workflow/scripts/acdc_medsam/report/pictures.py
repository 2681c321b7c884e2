"""Pictures of slices: the image, the outlines of its mask as vectors above it, and its embedding as colours.

And the section "pictures": for each group and phase a patient from base to apex.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from acdc_medsam.acdc.labels import PHASE_NAMES, PHASES, STRUCTURE_NAMES
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row
from acdc_medsam.formats.png import Gray, read_gray
from acdc_medsam.layout import EMBEDDING_SHAPE, PIXEL_COLUMNS
from acdc_medsam.measures.outlines import close_up, find_outlines
from acdc_medsam.measures.records import Floats, Measures
from acdc_medsam.report.contents import Contents

PICTURE_SIZE = 256
"""Pixels of a picture, and units of its outlines, along each side."""


SHOWN_DEVIATIONS = 2.5
"""Standard deviations from the mean at which a colour channel of an embedding's picture is black or full."""


@dataclass(frozen=True)
class Picture:
    """A slice to show.

    Attributes:
        row: its row of the manifest.
        description: what it is and which structures it shows, in words.
        image: ``data:`` address of the image, or of the part of it that is shown.
        window: the part, as the ``viewBox`` of the outlines: left, top, width and height.
        outlines: structure -> SVG path in units of a PICTURE_SIZE x PICTURE_SIZE picture of the whole image.
        whole: ``data:`` address of the whole image, where ``image`` is a part; or None.
        embedding: ``data:`` address of the embedding's picture, or None.
        problem: why it cannot be shown, or None.
    """

    row: Row
    description: str
    image: str = ""
    window: str = ""
    outlines: Mapping[str, str] = field(default_factory=dict)
    whole: str | None = None
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


def color_embedding(embedding: npt.NDArray[np.float32], axes: Axes) -> Gray:
    """Turn an embedding (256, 64, 64) into a picture (64, 64, 3): one axis per colour channel."""
    vectors = embedding.reshape(EMBEDDING_SHAPE[0], -1)
    along = (axes.axes @ (vectors - axes.mean[:, np.newaxis])) / axes.deviations[:, np.newaxis]
    shown = np.clip((along / SHOWN_DEVIATIONS + 1) / 2, 0, 1)
    return np.rint(255 * shown.T).astype(np.uint8).reshape(*EMBEDDING_SHAPE[1:], 3)


def trace_outlines(mask: Gray) -> dict[str, str]:
    """Outlines of each structure in a mask (H, W), as an SVG path in units of a PICTURE_SIZE x PICTURE_SIZE picture."""
    return {
        structure: "".join(
            "M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in PICTURE_SIZE * points[:-1]) + "Z" for points in outlines
        )
        for structure, outlines in find_outlines(mask).items()
    }


def webp_address(picture: Image.Image, quality: int) -> str:
    """Encode a picture as WebP inside a ``data:`` address."""
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def draw_picture(
    root: Path, row: Row, near: bool = False, with_whole: bool = False, axes: Axes | None = None
) -> Picture:
    """Draw a published slice; a file that cannot be read gives a picture that says so.

    Args:
        root: folder of the published dataset.
        row: the slice's row of the manifest.
        near: whether to show the heart alone.
        with_whole: whether to show the whole image besides.
        axes: of the embedding's colours; None leaves the embedding out.
    """
    description, name = describe_slice(row), f"{row['slice']}.png"
    try:
        image = Image.fromarray(read_gray(root / row["split"] / "images" / name))
        mask = read_gray(root / row["split"] / "masks" / name)
        embedding = None if axes is None else _draw_embedding(root / row["embedding"], axes)
    except DatasetError as error:
        return Picture(row, description, problem=str(error))
    left, top, side = close_up(mask) if near else (0.0, 0.0, 1.0)
    box = (left * image.width, top * image.height, (left + side) * image.width, (top + side) * image.height)
    shown = image.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS, box)
    whole = None
    if with_whole:
        whole = webp_address(image.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS, reducing_gap=2.0), 70)
    window = " ".join(f"{PICTURE_SIZE * share:.4g}" for share in (left, top, side, side))
    return Picture(row, description, webp_address(shown, 75), window, trace_outlines(mask), whole, embedding)


def _draw_embedding(path: Path, axes: Axes) -> str:
    from acdc_medsam.formats.tensors import open_embedding  # imports torch, which takes 2 s

    return webp_address(Image.fromarray(color_embedding(open_embedding(path, EMBEDDING_SHAPE).numpy(), axes)), 90)


def describe_slice(row: Row) -> str:
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
