"""The dataset that is looked at: which slices there are, and their image, mask and embedding.

A file is compared with its sha256 in the manifest before anything of it is used.
"""

import io
import math
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor, from_numpy

from acdc_medsam.acdc.labels import GROUP_NAMES, PHASE_NAMES
from acdc_medsam.data.slices import reject_outside_names, resize_mask
from acdc_medsam.encoders.decoder import PROMPT_SIZE
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, read_recorded, read_table
from acdc_medsam.formats.png import Gray, read_gray
from acdc_medsam.formats.tensors import read_embedding
from acdc_medsam.layout import EMBEDDING_SHAPE, MANIFEST, MANIFEST_COLUMNS, PIXEL_COLUMNS, SPLITS
from acdc_medsam.measures.embeddings import measure_embedding
from acdc_medsam.report.pictures import Axes, color_embedding, describe_slice, find_axes, from_base_to_apex

KEPT = 8
"""Number of embeddings and masks that are kept in memory, so that only the first click on a slice reads its files."""

SAMPLED_EMBEDDINGS = 8
"""Number of embeddings from which the axes of the colors are found. All of them would take minutes."""


class ViewedDataset:
    """The slices of a dataset.

    Attributes:
        root: Folder of the dataset.
        rows: Name of a slice -> its row of the manifest. Only these names are ever part of a path.
        label: Function that returns the mask of a slice, see :meth:`_read_label`.
        embedding: Function that returns the embedding of a slice, see :meth:`_read_embedding`.
    """

    def __init__(self, root: Path) -> None:
        """Read the manifest.

        Args:
            root: The folder of the dataset, such as ``data/ACDC`` or a copy of it.

        Raises:
            DatasetError: There is no manifest, it is damaged or lists no slices, or it names a file outside the
                dataset's folder.
        """
        self.root = root
        manifest = root / MANIFEST
        rows = read_table(manifest)
        require_columns(rows, manifest)
        reject_outside_names(rows, manifest, need_embeddings=False)
        # The split of a row becomes part of paths, so only a known name is used.
        self.rows = {row["slice"]: row for row in rows if row["split"] in SPLITS}
        if not self.rows:
            raise DatasetError(f"{manifest}: there are no slices to look at; run the workflow again to make some")
        self.label = lru_cache(KEPT)(self._read_label)
        self.embedding = lru_cache(KEPT)(self._read_embedding)

    def volumes(self) -> list[dict[str, object]]:
        """Describe all volumes in the order of the manifest, each with its slices from base to apex."""
        volumes: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows.values():
            volumes.setdefault((row["patient"], row["phase"]), []).append(row)
        return [
            {
                "patient": patient,
                "phase": PHASE_NAMES[phase],
                "group": GROUP_NAMES.get(rows[0]["group"], rows[0]["group"]),
                "slices": [
                    {"name": row["slice"], "split": row["split"], "description": describe_slice(row)}
                    for row in from_base_to_apex(rows)
                ],
            }
            for (patient, phase), rows in volumes.items()
        ]

    def image(self, name: str) -> bytes:
        """Return the PNG file of a slice's image.

        Raises:
            DatasetError: The file is missing, or damaged.
        """
        return self._read_png(name, "images")[0]

    def embedding_picture(self, name: str) -> bytes:
        """Return a PNG file (64, 64) that shows an embedding as the report does.

        Raises:
            DatasetError: The slice has no embedding, or the file is missing or damaged.
        """
        colors = color_embedding(self.embedding(name).numpy(), self.axes)
        buffer = io.BytesIO()
        Image.fromarray(colors).save(buffer, "png")
        return buffer.getvalue()

    @cached_property
    def axes(self) -> Axes:
        """The axes of the colors, from embeddings of slices all over the dataset; damaged ones are left out.

        Raises:
            DatasetError: All of these are damaged.
        """
        names = [name for name, row in self.rows.items() if row["embedding"]]
        chosen = np.linspace(0, len(names) - 1, min(len(names), SAMPLED_EMBEDDINGS)).round().astype(int)
        measured = []
        for name in (names[index] for index in chosen):
            try:
                measured.append(measure_embedding(self._read_embedding(name).numpy()))
            except DatasetError:
                continue
        if not measured:
            raise DatasetError(
                f"{self.root}: no embedding can be read, so none is shown; `snakemake repair` mends them"
            )
        mean = np.stack([one.pooled for one in measured]).mean((0, 2, 3), dtype=np.float64)
        products = np.stack([one.products for one in measured]).mean(0)
        return find_axes(mean, products / math.prod(EMBEDDING_SHAPE[1:]))

    def _read_png(self, name: str, kind: str) -> tuple[bytes, Gray]:
        row = self.rows[name]
        path = self.root / row["split"] / kind / f"{name}.png"
        data = read_recorded(path, row[f"{kind.removesuffix('s')}_sha256"])
        return data, read_gray(path, data)

    def _read_label(self, name: str) -> Gray:
        """Return the mask of a slice: labels (S, S) uint8, where S is the side of the file but at most PROMPT_SIZE.

        Raises:
            DatasetError: The file is missing, or damaged.
        """
        label = self._read_png(name, "masks")[1]
        resized: Gray = resize_mask(from_numpy(label), min(*label.shape, PROMPT_SIZE)).numpy()
        return resized

    def _read_embedding(self, name: str) -> Tensor:
        """Return the embedding of a slice: (256, 64, 64) float32.

        Raises:
            DatasetError: The slice has no embedding, or the file is missing or damaged.
        """
        row = self.rows[name]
        if not row["embedding"]:
            raise DatasetError(f"{self.root / MANIFEST}: the slice {name} has no embedding; set encoder.name and rerun")
        path = self.root / row["embedding"]
        data = read_recorded(path, row["embedding_sha256"])
        return read_embedding(io.BytesIO(data), path, EMBEDDING_SHAPE).float()


def require_columns(rows: Sequence[Row], manifest: Path) -> None:
    """Check that the rows of a manifest have all columns, and numbers and phases where these belong.

    Raises:
        DatasetError: One has not.
    """
    for number, row in enumerate(rows, start=1):
        wrong = _wrong_columns(row)
        if wrong:
            raise DatasetError(
                f"{manifest}, row {number}: {', '.join(wrong)} cannot be used; copy the dataset again from where it "
                "was made, or run the workflow again"
            )


def _wrong_columns(row: Mapping[str, str]) -> list[str]:
    """Return the names of the columns that are missing, or hold no number or phase where one belongs."""
    missing = [column for column in MANIFEST_COLUMNS if column not in row]
    if missing:
        return missing
    numbers = [column for column in ("slice_index", *PIXEL_COLUMNS.values()) if not row[column].isdecimal()]
    return numbers if row["phase"] in PHASE_NAMES else [*numbers, "phase"]
