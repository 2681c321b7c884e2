"""Pictures of slices: the image, the outlines of its mask as vector graphics, and its embedding in colors.

The section "pictures" shows one patient of each group in each phase, from base to apex.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from acdc_medsam.acdc.labels import LABELS, PHASE_NAMES, PHASES, STRUCTURE_NAMES
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, Written, is_untouched, sha256_file
from acdc_medsam.formats.png import Gray, read_gray
from acdc_medsam.formats.tensor_values import Values, open_values
from acdc_medsam.layout import EMBEDDING_SHAPE, PIXEL_COLUMNS
from acdc_medsam.measures.outlines import close_up, find_outlines
from acdc_medsam.measures.records import Floats, Measures
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.pieces import Piece, Pieces, digest

PICTURE_SIZE = 256
"""Side of a picture in pixels, and of the coordinate system of its outlines."""

SHOWN_DEVIATIONS = 2.5
"""Number of standard deviations from the mean at which a color channel of an embedding's picture saturates."""


@dataclass(frozen=True)
class Picture:
    """The picture of a slice.

    Attributes:
        row: The row of the slice in the manifest.
        description: Which slice it is and which structures it shows, in words.
        image: ``data:`` URL of the image, or of the part of it that is shown.
        window: The part that is shown, as the ``viewBox`` of the outlines: left, top, width and height.
        outlines: Structure -> SVG path, in the coordinates of a picture of the whole image.
        whole: ``data:`` URL of the whole image if ``image`` is only a part, or None.
        embedding: ``data:`` URL of the picture of the embedding, or None.
        problem: Reason why the slice cannot be shown, or None.
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
    """The three axes that the colors of embeddings stand for: those of largest variance.

    Attributes:
        mean: (256,) mean of the vectors at all positions of all embeddings.
        axes: (3, 256) axes, in decreasing order of variance.
        deviations: (3,) standard deviations of the vectors along the axes.
        explained: Share of the variance of the vectors that the axes explain.
    """

    mean: Floats
    axes: Floats
    deviations: Floats
    explained: float

    @cached_property
    def digest(self) -> str:
        """Digest of everything that the colors depend on."""
        return digest(self.mean, self.axes, self.deviations)


@dataclass(frozen=True)
class Series:
    """The slices of one patient in one phase.

    Attributes:
        group: Pathology group of the patient.
        patient: Name of the patient.
        phase: The phase, a key of PHASE_NAMES.
        pictures: Pictures of the slices from base to apex.
    """

    group: str
    patient: str
    phase: str
    pictures: Sequence[Picture]


def principal_axes(measures: Measures) -> Axes:
    """Find the three axes along which the vectors of all embeddings vary most."""
    mean = measures.pooled.mean((0, 2, 3), dtype=np.float64)
    return find_axes(mean, measures.token_products / measures.tokens)


def find_axes(mean: Floats, products: Floats) -> Axes:
    """Find the three axes along which vectors vary most (principal component analysis).

    Args:
        mean: (256,) mean of the vectors.
        products: (256, 256) mean of the outer products of the vectors with themselves.

    Returns:
        The axes.
    """
    covariance = products - np.outer(mean, mean)
    variances, vectors = np.linalg.eigh(covariance)  # in increasing order of variance

    # The sign of an axis is arbitrary, so its largest component is made positive.
    axes = vectors[:, :-4:-1].T
    axes *= np.sign(axes[np.arange(3), np.abs(axes).argmax(1)])[:, np.newaxis]

    tiny = np.finfo(float).tiny
    shown = np.maximum(variances[:-4:-1], tiny)
    return Axes(mean, axes, np.sqrt(shown), float(shown.sum() / max(variances.sum(), tiny)))


def color_embedding(embedding: Values, axes: Axes) -> npt.NDArray[np.uint8]:
    """Turn an embedding (256, 64, 64) into a picture (64, 64, 3) uint8, with one color channel per axis."""
    # Several embeddings are colored at a time. A matrix product would use all cores for each of them.
    products = np.einsum("ac,cp->ap", axes.axes, embedding.reshape(EMBEDDING_SHAPE[0], -1))
    along = (products - (axes.axes @ axes.mean)[:, np.newaxis]) / axes.deviations[:, np.newaxis]
    shown = np.clip((along / SHOWN_DEVIATIONS + 1) / 2, 0, 1)
    picture: npt.NDArray[np.uint8] = np.rint(255 * shown.T).astype(np.uint8).reshape(*EMBEDDING_SHAPE[1:], 3)
    return picture


def trace_outlines(mask: Gray) -> dict[str, str]:
    """Trace each structure in a mask (H, W): structure -> SVG path in a coordinate system of side PICTURE_SIZE."""
    return {
        structure: "".join(
            # The last point of an outline repeats the first one, and Z closes the path.
            "M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in PICTURE_SIZE * points[:-1]) + "Z"
            for points in outlines
        )
        for structure, outlines in find_outlines(mask).items()
    }


def encode_webp(picture: Image.Image, quality: int) -> str:
    """Encode a picture as WebP and return it as a ``data:`` URL. ``quality`` is 0 to 100."""
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclass(frozen=True)
class Studio:
    """Where pictures of published slices are drawn.

    Attributes:
        root: Folder of the published dataset.
        records: File -> its record, for the published files.
        pieces: What the last report drew.
        axes: Axes for the colors of embeddings, or None for a dataset without embeddings.
    """

    root: Path
    records: Mapping[Path, Written]
    pieces: Pieces
    axes: Axes | None

    def draw_picture(self, row: Row, near: bool = False, complete: bool = False) -> Picture:
        """Draw a published slice.

        Args:
            row: The row of the slice in the manifest.
            near: Whether to show only the heart.
            complete: Whether to show the whole image as well, and the embedding if the dataset has any.

        Returns:
            The picture. If a file cannot be read, the picture says so.
        """
        description = describe_slice(row)
        image, mask = (self.root / row["split"] / kind / f"{row['slice']}.png" for kind in ("images", "masks"))
        draw = partial(draw_slice, image, mask, near, complete)
        try:
            slice_ = self._draw([image, mask], digest("slice", near, complete), draw)
            embedding = self._draw_embedding(self.root / row["embedding"]) if complete else None
        except DatasetError as error:
            return Picture(row, description, problem=str(error))

        return Picture(
            row=row,
            description=description,
            image=slice_["image"],
            window=slice_["window"],
            outlines={structure: slice_[structure] for structure in LABELS if structure in slice_},
            whole=slice_.get("whole"),
            embedding=embedding,
        )

    def _draw_embedding(self, path: Path) -> str | None:
        if self.axes is None:
            return None
        return self._draw([path], self.axes.digest, partial(draw_embedding, path, self.axes))["image"]

    def _draw(self, files: Sequence[Path], how: str, draw: Callable[[], Piece]) -> Piece:
        """Draw a piece that shows some files, unless the last report showed files of the same content like that."""
        contents = [self._find_sha256(file) for file in files]
        # Only what can be read is kept; drawing says why something cannot.
        return draw() if None in contents else self.pieces.look_up(digest(how, contents), draw)

    def _find_sha256(self, file: Path) -> str | None:
        """Return the hex sha256 of what a file contains now, or None if it cannot be read."""
        written = self.records.get(file)
        if written is not None and is_untouched(written):
            return written.sha256
        try:
            return sha256_file(file)
        except OSError:
            return None


def draw_slice(image: Path, mask: Path, near: bool, complete: bool) -> Piece:
    """Draw the image and the outlines of a slice.

    Args:
        image: The PNG image.
        mask: The PNG mask.
        near: Whether to show only the heart.
        complete: Whether to draw the whole image as well.

    Returns:
        The attributes ``image``, ``window`` and, if asked for, ``whole`` of :class:`Picture`; structure -> SVG path.

    Raises:
        DatasetError: A file cannot be read.
    """
    picture = Image.fromarray(read_gray(image))
    label = read_gray(mask)

    size = (PICTURE_SIZE, PICTURE_SIZE)
    left, top, side = close_up(label) if near else (0.0, 0.0, 1.0)
    width, height = picture.size
    box = (left * width, top * height, (left + side) * width, (top + side) * height)
    piece = {
        "image": encode_webp(picture.resize(size, Image.Resampling.LANCZOS, box), 75),
        "window": " ".join(f"{PICTURE_SIZE * share:.4g}" for share in (left, top, side, side)),
        **trace_outlines(label),
    }
    if complete:
        piece["whole"] = encode_webp(picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0), 70)
    return piece


def draw_embedding(path: Path, axes: Axes) -> Piece:
    """Draw the embedding in a file in colors, as ``image``.

    Raises:
        DatasetError: The file cannot be read.
    """
    colors = color_embedding(open_values(path, EMBEDDING_SHAPE), axes)
    return {"image": encode_webp(Image.fromarray(colors), 90)}


def describe_slice(row: Row) -> str:
    """Describe which slice it is and which structures it shows."""
    shown = [STRUCTURE_NAMES[key] for key, column in PIXEL_COLUMNS.items() if int(row[column])]
    structures = ", ".join(shown) if shown else "no structure"
    return f"{row['patient']}, {PHASE_NAMES[row['phase']]}, slice {row['slice_index']}: {structures}"


def from_base_to_apex(rows: Sequence[Row]) -> list[Row]:
    """Sort the slices of one volume from base to apex."""
    ordered = sorted(rows, key=lambda row: int(row["slice_index"]))
    areas = [sum(int(row[column]) for column in PIXEL_COLUMNS.values()) for row in ordered]
    return ordered if is_base_first(areas) else ordered[::-1]


def is_base_first(areas: Sequence[int]) -> bool:
    """Tell from the area of the heart in each slice of a volume whether the first one is at the base.

    Volumes are stored in either direction. The heart is wider at its base, so its area decreases towards the apex.
    """
    middle = len(areas) // 2
    # With an odd number of slices, the one in the middle belongs to neither half.
    return sum(areas[:middle]) >= sum(areas[len(areas) - middle :])


def choose_series(contents: Contents) -> list[tuple[str, str, str, list[Row]]]:
    """Choose the first patient of each group: group, patient, phase, and the slices of each phase from base to apex."""
    chosen = []
    for group in contents.groups:
        patient = min(row["patient"] for row in contents.rows if row["group"] == group)
        for phase in PHASES:
            rows = [row for row in contents.rows if row["patient"] == patient and row["phase"] == phase]
            if rows:
                chosen.append((group, patient, phase, from_base_to_apex(rows)))
    return chosen
