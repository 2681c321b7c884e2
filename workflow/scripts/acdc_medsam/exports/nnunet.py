"""Export nnunet: a raw dataset of nnU-Net v2, with the original voxels and the dataset's own split.

The format is described in MIC-DKFZ/nnUNet, documentation/dataset_format.md. ``splits_final.json`` belongs beside
nnU-Net's preprocessed files. If the dataset's own split is a fold, all folds are its entries, in their order, and
nnU-Net counts them from 0. Otherwise the dataset's own split is the one entry and becomes fold 0. Patients of ``test``
are in imagesTs and labelsTs, from whichever folder they come.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from isal import igzip

from acdc_medsam.acdc import citation
from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import LABEL_ENDING, NAME
from acdc_medsam.errors import DatasetError
from acdc_medsam.exports.folder import Published, close_export, split_of_patients
from acdc_medsam.formats.files import Row, Written, read_table, write_bytes
from acdc_medsam.formats.h5 import read_geometry, read_h5
from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.nifti import write_volume
from acdc_medsam.runtime.outside import require_announced
from acdc_medsam.stages.split_rule import folds_of_scheme

logger = logging.getLogger(__name__)


def export_nnunet(published: Published, folder: Path, index: Path, volumes: Mapping[str, str]) -> None:
    """Write images and labels, ``dataset.json`` and ``splits_final.json``.

    Args:
        published: The published dataset.
        folder: Folder of the export, ``Dataset027_ACDC``.
        index: Index of the export, the declared output of the job.
        volumes: Path -> hex sha256, when the run was planned, of the raw image and label (``_gt``) of each frame.
            Files ``.nii.gz`` are copied, files ``.nii`` are compressed. If there are none, the published H5 volumes are
            converted, whose intensities are normalized.

    Raises:
        DatasetError: The split is by slice, not by patient; a raw file changed since the run was planned; or the
            spacing of an H5 volume is unknown.
    """
    rows = read_table(published.manifest)
    splits = split_of_patients(rows)
    write = _copy_raw(volumes) if volumes else _convert_h5(published)
    files: list[Written] = []
    cases: dict[str, list[str]] = {"train": [], "val": [], "test": []}

    for case, write_case in write:
        split = splits.get(case.split("_")[0])
        if split is None:
            continue
        part = "Ts" if split == "test" else "Tr"
        image = folder / f"images{part}" / f"{case}_0000.nii.gz"
        files += write_case(image, folder / f"labels{part}" / f"{case}.nii.gz")
        cases[split].append(case)

    training = len(cases["train"]) + len(cases["val"])
    for name, content in (
        ("dataset.json", _describe_dataset(training)),
        ("splits_final.json", _divide_cases(cases["train"], cases["val"], rows)),
    ):
        files.append(write_bytes(folder / name, (json.dumps(content, indent=2) + "\n").encode()))

    close_export(folder, index, files)
    logger.info("%s", ", ".join(f"{name} {len(items)}" for name, items in cases.items()))


def _divide_cases(train: Sequence[str], val: Sequence[str], rows: Sequence[Row]) -> list[dict[str, list[str]]]:
    """Return the content of ``splits_final.json``.

    Args:
        train: Names of the cases of train.
        val: Names of the cases of val.
        rows: Rows of the manifest.
    """
    # The manifest names the scheme with the number of a fold only if that fold is val.
    scheme, _, own_fold = rows[0]["scheme"].partition(":")
    if not own_fold:
        return [{"train": sorted(train), "val": sorted(val)}]

    folds = {row["patient"]: int(row["fold"]) for row in rows if row["fold"]}
    fold_of_case = {case: folds[case.split("_")[0]] for case in sorted([*train, *val])}
    return [
        {
            "train": [case for case, own in fold_of_case.items() if own != fold],
            "val": [case for case, own in fold_of_case.items() if own == fold],
        }
        for fold in folds_of_scheme(scheme)
    ]


WriteCase = Callable[[Path, Path], list[Written]]
"""Function that writes a volume to the paths of its image and its label."""


def _copy_raw(volumes: Mapping[str, str]) -> Iterator[tuple[str, WriteCase]]:
    """Yield the name of each volume, and how its raw files are copied."""
    paths = {Path(path).name.split(".")[0]: path for path in volumes}
    for case, image in paths.items():
        if not case.endswith(LABEL_ENDING):
            yield case, partial(_copy_pair, image, paths[case + LABEL_ENDING], volumes)


def _copy_pair(
    image: str, label: str, volumes: Mapping[str, str], image_target: Path, label_target: Path
) -> list[Written]:
    pairs = ((image, image_target), (label, label_target))
    return [_copy_volume(Path(source), target, volumes[source]) for source, target in pairs]


def _convert_h5(published: Published) -> Iterator[tuple[str, WriteCase]]:
    """Yield the name of each published H5 volume, and how it is converted."""
    for record, _ in read_records(published.index):
        if record.path.suffix != ".h5" or not record.path.parent.name.endswith("_volumes"):
            continue
        yield record.path.stem, partial(_convert_volume, record)


def _convert_volume(record: Written, image_target: Path, label_target: Path) -> list[Written]:
    content = read_h5(record.path, 3, record.sha256)
    spacing, affine = read_geometry(content)
    if spacing is None:
        raise DatasetError(
            f"{record.path.stem}: its spacing is unknown, and nnU-Net plans its networks by the spacing; give it in "
            "column 'spacing' of patients.tsv, in the folder of the raw H5 files"
        )
    arrays = ((image_target, content.image), (label_target, content.label))
    return [write_volume(path, array, spacing, affine) for path, array in arrays]


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
