"""The store of embeddings: files named by the content of the image and by the encoder, so that none is made twice."""

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
"""Further columns of the index of a batch of embeddings."""

PACKAGES = ("numpy", "pillow", "segment-anything", "torch")
"""Packages that the numbers in an embedding depend on."""


@dataclass(frozen=True)
class Maker:
    """What makes embeddings, as it is written down beside each.

    Attributes:
        encoder: Name of the encoder.
        weights: Hex sha256 of its checkpoint.
        precision: ``encoder.precision`` of the configuration.
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
        """Hex sha256 over all that the numbers are meant to depend on besides the image."""
        return fingerprint(self.encoder, self.weights, self.precision, self.device)

    def facts(self) -> dict[str, Any]:
        """The attributes, and the versions of what is installed here and now."""
        versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}
        return {**asdict(self), "software": f"acdc-medsam {__version__}", "versions": versions}


def maker_name(facts: Mapping[str, Any]) -> str:
    """Short name for what made an embedding: equal facts, equal name."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def embedding_digest(encoder: str, pixels_sha256: str) -> str:
    """Name of an embedding: hex sha256 over the encoder's fingerprint and the sha256 of the image's pixels."""
    return hashlib.sha256(f"{encoder} {pixels_sha256}".encode()).hexdigest()


def store_path(store: Path, digest: str) -> Path:
    """Where the store keeps an embedding; two hexadecimal digits of folders keep folders small."""
    return store / digest[:2] / f"{digest}.pt"


@dataclass(frozen=True)
class Store:
    """The folder of all embeddings, and what makes those that are added to it."""

    folder: Path
    made_by: Mapping[str, Any]

    def save(self, digest: str, embedding: "torch.Tensor") -> Kept:
        """Add an embedding (256, 64, 64)."""
        return keep(store_path(self.folder, digest), tensor_bytes(embedding), self.made_by)


def prune_store(tables: Sequence[Path]) -> int:
    """Remove embeddings that no table names, and tables of the same encoder that are no longer in use.

    Args:
        tables: The tables in use, all of one encoder; ``store/`` lies beside their folder.

    Returns:
        Number of embeddings removed.
    """
    tables_of_encoder = {table.parent for table in tables}
    for stale in {path for folder in tables_of_encoder for path in folder.glob("p*-*.tsv")} - set(tables):
        stale.unlink()
    removed = 0
    for folder in {folder.parent for folder in tables_of_encoder}:
        named = {written.path.name for table in folder.glob("*/p*-*.tsv") for written, _ in read_records(table)}
        for file in folder.glob("store/*/*.pt"):
            if file.name not in named:
                file.unlink()
                record_path(file).unlink(missing_ok=True)
                removed += 1
    logger.warning("removed %d embeddings that no table names", removed)
    return removed
