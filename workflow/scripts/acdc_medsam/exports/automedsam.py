"""Export automedsam: the dataset per ventricle, as implementations of AutoMedSAM read it.

``PrecomputedEmbeddingDataset`` (dataset.py of vinhnamhai321/AutoMedSAM) takes the names of the slices of a task, ``LV``
or ``RV``, from ``<split>/<task>/image_embeddings``. ``load_positional_encoding`` reads ``positional_encoding/pe.pt``.
"""

from pathlib import Path

from acdc_medsam.exports.folder import Published
from acdc_medsam.exports.structures import export_structures

TASKS = ("LV", "RV")
"""Structures that can be learned there."""


def export_automedsam(published: Published, folder: Path, index: Path, link: str) -> None:
    """Write the export structures with the two ventricles alone; the arguments are the same."""
    export_structures(published, folder, index, link, TASKS)
