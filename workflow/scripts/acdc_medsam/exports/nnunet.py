"""Export nnunet: a raw dataset of nnU-Net v2, with the original voxels and the dataset's own split.

Format: MIC-DKFZ/nnUNet, documentation/dataset_format.md. ``splits_final.json`` belongs beside nnU-Net's preprocessed
files; it has one entry, the dataset's own split, which is nnU-Net's fold 0.
"""

import gzip
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acdc_medsam.acdc import citation
from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.exports.folder import close_export, split_of_patients
from acdc_medsam.formats.files import Written, read_table, write_bytes
from acdc_medsam.runtime.outside import require_announced

logger = logging.getLogger(__name__)


def export_nnunet(
    manifest: Path, volumes: Sequence[Path], announced: Mapping[str, str], folder: Path, index: Path
) -> None:
    """Copy images and labels and write ``dataset.json`` and ``splits_final.json``.

    Files are copied, because whoever edits a linked one edits the raw data.

    Args:
        manifest: ``manifest.tsv`` of the published dataset.
        volumes: raw images and labels (``_gt``) of all patients, ``.nii.gz``, or ``.nii``, which are compressed.
        announced: Path -> hex sha256 of each of them as it was when the run was planned.
        folder: ``Dataset027_ACDC`` of the export.
        index: Declared output.

    Raises:
        DatasetError: The split is by slice, not by patient, or a file changed meanwhile.
    """
    splits = split_of_patients(read_table(manifest))
    files = list[Written]()
    cases: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for source in volumes:
        patient, stem = source.parent.name, source.name.split(".")[0]
        if patient not in splits:
            continue
        part = "Ts" if splits[patient] == "test" else "Tr"
        if stem.endswith("_gt"):
            target = folder / f"labels{part}" / f"{stem.removesuffix('_gt')}.nii.gz"
        else:
            target = folder / f"images{part}" / f"{stem}_0000.nii.gz"
            cases[splits[patient]].append(stem)
        data = source.read_bytes()
        require_announced(source, hashlib.sha256(data).hexdigest(), announced[str(source)])
        compressed = data if source.name.endswith(".gz") else gzip.compress(data, mtime=0)
        files.append(write_bytes(target, compressed, read_only=True))
    split = {name: sorted(cases[name]) for name in ("train", "val")}
    for name, content in (("dataset.json", _dataset(sum(map(len, split.values())))), ("splits_final.json", [split])):
        files.append(write_bytes(folder / name, (json.dumps(content, indent=2) + "\n").encode()))
    close_export(folder, index, files)
    logger.info("%s", ", ".join(f"{name} {len(items)}" for name, items in cases.items()))


def _dataset(training: int) -> dict[str, Any]:
    return {
        "channel_names": {"0": "cineMRI"},
        "labels": {"background": 0, **LABELS},
        "numTraining": training,
        "file_ending": ".nii.gz",
        "name": "ACDC",
        "licence": citation.LICENSE,
        "reference": citation.ACDC_URL,
        "citation": citation.ACDC_BIBTEX,
    }
