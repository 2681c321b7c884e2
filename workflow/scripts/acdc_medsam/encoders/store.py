"""Store of embeddings: files named by image content and encoder, so that no embedding is computed twice."""

import hashlib
import json
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acdc_medsam import __version__
from acdc_medsam.encoders.registry import fingerprint
from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.kept import Kept, keep, record_path
from acdc_medsam.formats.tensors import tensor_bytes

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

EMBEDDING_COLUMNS = ("slice", "digest", "encoder", "maker")
"""Additional columns in the index of a batch of embeddings."""

PACKAGES = ("numpy", "pillow", "segment-anything", "torch")
"""Packages whose versions may affect the values of an embedding."""


@dataclass(frozen=True)
class Maker:
    """Maker of embeddings, which is recorded beside each of them.

    Attributes:
        encoder: Name of the encoder.
        weights: Hex sha256 of its checkpoint.
        precision: Value of ``encoder.precision`` in the configuration.
        device: Kind of device, see :data:`acdc_medsam.encoders.registry.DEVICES`.
        code: Hash of the modules that encode.
    """

    encoder: str
    weights: str
    precision: str
    device: str
    code: str

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of everything that an embedding is meant to depend on besides the image."""
        return fingerprint(self.encoder, self.weights, self.precision, self.device)

    def facts(self) -> dict[str, Any]:
        """Return the attributes, and the versions of the installed software."""
        versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}
        return {**asdict(self), "software": f"acdc-medsam {__version__}", "versions": versions}


def maker_name(facts: Mapping[str, Any]) -> str:
    """Return a short name for the maker of an embedding; equal facts give equal names."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def embedding_digest(encoder: str, pixels_sha256: str) -> str:
    """Return the name of an embedding: the hex sha256 of the encoder's fingerprint and the image's pixels."""
    return hashlib.sha256(f"{encoder} {pixels_sha256}".encode()).hexdigest()


def store_path(store: Path, digest: str) -> Path:
    """Return the path of an embedding in the store; folders of two hexadecimal digits keep each folder small."""
    return store / digest[:2] / f"{digest}.pt"


@dataclass(frozen=True)
class Store:
    """Folder of all embeddings, to which those of one maker are added.

    Attributes:
        folder: The folder.
        made_by: Facts about the maker of added embeddings.
    """

    folder: Path
    made_by: Mapping[str, Any]

    def save(self, digest: str, embedding: "torch.Tensor") -> Kept:
        """Add an embedding (256, 64, 64) under its digest."""
        return keep(store_path(self.folder, digest), tensor_bytes(embedding), self.made_by)


def prune_store(tables: Sequence[Path]) -> int:
    """Remove tables of an encoder that are no longer in use, and then all embeddings that no table names.

    Args:
        tables: The tables in use, all of one encoder, in a folder beside ``store/``.

    Returns:
        Number of removed embeddings.
    """
    folders = {table.parent for table in tables}
    for stale in {path for folder in folders for path in folder.glob("p*-*.tsv")} - set(tables):
        stale.unlink()

    # Tables of other encoders, in folders beside this one, name embeddings in the same store.
    removed = 0
    for folder in {folder.parent for folder in folders}:
        named = {written.path.name for table in folder.glob("*/p*-*.tsv") for written, _ in read_records(table)}
        for file in folder.glob("store/*/*.pt"):
            if file.name not in named:
                file.unlink()
                record_path(file).unlink(missing_ok=True)
                removed += 1

    logger.warning("removed %d embeddings that no table names", removed)
    return removed
