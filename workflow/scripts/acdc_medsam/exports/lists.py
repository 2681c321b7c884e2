"""Export lists: volumes and slices by split, as the loaders of HiLab-git/SSL4MIS read them.

``BaseDataSets`` (code/dataloaders/dataset.py) reads names without ending from ``train_slices.list`` and ``val.list``
below its ``base_dir``, the test scripts ``test.list``; files are ``data/slices/<slice>.h5`` and ``data/<volume>.h5``.
HiLab-git/WSL4MIS reads no lists: its ``base_dir`` is the folder that holds ``ACDC_training_slices``.
"""

import logging
from collections import defaultdict
from pathlib import Path

from acdc_medsam.acdc.naming import volume_of
from acdc_medsam.exports.folder import close_export, link_published, split_of_patients
from acdc_medsam.formats.files import Written, read_table, write_bytes
from acdc_medsam.formats.index import read_records
from acdc_medsam.layout import SPLITS
from acdc_medsam.stages.split import rank

logger = logging.getLogger(__name__)


def export_lists(manifest: Path, published: Path, folder: Path, index: Path, link: str, seed: int) -> None:
    """Link the H5 files and write ``<split>.list`` and ``<split>_slices.list``, slices without structures included.

    Args:
        manifest: ``manifest.tsv`` of the published dataset.
        published: the index of published files.
        folder: of the export.
        index: declared output.
        link: see :func:`acdc_medsam.stages.publish.link_file`.
        seed: of the order of patients. SSL4MIS takes the first lines as labelled, and ACDC's numbers go by group.

    Raises:
        DatasetError: the split is by slice, not by patient.
    """
    splits = split_of_patients(read_table(manifest))
    lists = defaultdict[str, list[str]](list)
    files = list[Written]()
    by_patient = defaultdict(list)
    for record, _ in read_records(published):
        if record.path.suffix == ".h5":
            by_patient[record.path.name.split("_")[0]].append(record)
    for patient in rank(splits, seed):
        for record in by_patient[patient]:
            source = record.path
            whole = source.stem == volume_of(source.stem)
            target = folder / "data" / ("" if whole else "slices") / source.name
            files.append(link_published(record, target, link))
            lists[splits[patient] + ("" if whole else "_slices")].append(source.stem)
    for name in (split + ending for split in SPLITS for ending in ("", "_slices")):
        path = folder / f"{name}.list"
        files.append(write_bytes(path, "".join(f"{item}\n" for item in lists[name]).encode()))
    close_export(folder, index, files)
    logger.info("%s", ", ".join(f"{name} {len(items)}" for name, items in lists.items()))
