"""Export nnunet: a raw dataset of nnU-Net v2, with the original voxels and the dataset's own split.

The format is described in MIC-DKFZ/nnUNet, documentation/dataset_format.md. ``splits_final.json`` belongs beside
nnU-Net's preprocessed files. Its one entry is the dataset's own split, which becomes nnU-Net's fold 0.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isal import igzip

from acdc_medsam.acdc import citation
from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import LABEL_ENDING, NAME
from acdc_medsam.exports.folder import Published, close_export, split_of_patients
from acdc_medsam.formats.files import Written, read_table, write_bytes
from acdc_medsam.runtime.outside import require_announced

logger = logging.getLogger(__name__)


def export_nnunet(published: Published, folder: Path, index: Path, volumes: Mapping[str, str]) -> None:
    """Copy images and labels and write ``dataset.json`` and ``splits_final.json``.

    Args:
        published: The published dataset.
        folder: Folder of the export, ``Dataset027_ACDC``.
        index: Index of the export, the declared output of the job.
        volumes: Path -> hex sha256, when the run was planned, of the raw image and label (``_gt``) of each frame.
            Files ``.nii.gz`` are copied, files ``.nii`` are compressed.

    Raises:
        DatasetError: The split is by slice, not by patient, or a raw file changed since the run was planned.
    """
    splits = split_of_patients(read_table(published.manifest))
    files: list[Written] = []
    cases: dict[str, list[str]] = {"train": [], "val": [], "test": []}

    for source in map(Path, volumes):
        patient = source.parent.name
        case = source.name.split(".")[0]
        if patient not in splits:
            continue
        part = "Ts" if splits[patient] == "test" else "Tr"
        if case.endswith(LABEL_ENDING):
            target = folder / f"labels{part}" / f"{case.removesuffix(LABEL_ENDING)}.nii.gz"
        else:
            target = folder / f"images{part}" / f"{case}_0000.nii.gz"
            cases[splits[patient]].append(case)
        files.append(_copy_volume(source, target, volumes[str(source)]))

    split = {name: sorted(cases[name]) for name in ("train", "val")}
    training = len(split["train"]) + len(split["val"])
    for name, content in (("dataset.json", _describe_dataset(training)), ("splits_final.json", [split])):
        files.append(write_bytes(folder / name, (json.dumps(content, indent=2) + "\n").encode()))

    close_export(folder, index, files)
    logger.info("%s", ", ".join(f"{name} {len(items)}" for name, items in cases.items()))


def _copy_volume(source: Path, target: Path, announced: str) -> Written:
    """Copy a raw volume, compressed; a link would let whoever edits the export edit the raw data."""
    data = source.read_bytes()
    require_announced(source, hashlib.sha256(data).hexdigest(), announced)
    compressed = data if source.name.endswith(".gz") else igzip.compress(data, 2, mtime=0)
    return write_bytes(target, compressed, read_only=True)


def _describe_dataset(training: int) -> dict[str, Any]:
    """Return the content of ``dataset.json``, given the number of training cases."""
    return {
        "channel_names": {"0": "cineMRI"},
        "labels": {"background": 0, **LABELS},
        "numTraining": training,
        "file_ending": ".nii.gz",
        "name": NAME,
        "licence": citation.LICENSE,
        "reference": citation.DATASET_URL,
        "citation": citation.DATASET_BIBTEX,
    }
