"""Export lists: volumes and slices by split, as the loaders of HiLab-git/SSL4MIS read them.

``BaseDataSets`` (code/dataloaders/dataset.py) reads names without suffix from ``train_slices.list`` and ``val.list``
in its ``base_dir``; the test scripts read ``test.list``. The files are ``data/slices/<slice>.h5`` and
``data/<volume>.h5``. HiLab-git/WSL4MIS reads no lists: its ``base_dir`` is the folder that holds
``ACDC_training_slices``.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from acdc_medsam.acdc.naming import patient_number, volume_of
from acdc_medsam.acdc.splits import PUBLISHED_SPLITS
from acdc_medsam.exports.folder import Published, close_export, link_published, split_of_patients
from acdc_medsam.formats.files import Written, read_table, write_bytes
from acdc_medsam.formats.index import read_records
from acdc_medsam.layout import SPLITS
from acdc_medsam.stages.stratified import rank

logger = logging.getLogger(__name__)


def export_lists(published: Published, folder: Path, index: Path, link: str, seed: int) -> None:
    """Link the H5 files and write ``<split>.list`` and ``<split>_slices.list``.

    Slices without structures are listed too.

    Args:
        published: The published dataset.
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.
        link: How to link; see :func:`acdc_medsam.stages.publish.link_file`.
        seed: Seed of the order of patients, see :func:`order_patients`.

    Raises:
        DatasetError: The split is by slice, not by patient.
    """
    rows = read_table(published.manifest)
    splits = split_of_patients(rows)
    records = _h5_by_patient(published.index)
    files: list[Written] = []
    names = defaultdict[str, list[str]](list)

    for patient in order_patients(splits, rows[0]["scheme"], seed):
        for record in records[patient]:
            source = record.path
            is_volume = source.stem == volume_of(source.stem)
            target = folder / "data" / ("" if is_volume else "slices") / source.name
            files.append(link_published(record, target, link))
            names[splits[patient] + ("" if is_volume else "_slices")].append(source.stem)

    for name in (f"{split}{suffix}" for split in SPLITS for suffix in ("", "_slices")):
        lines = "".join(f"{item}\n" for item in names[name])
        files.append(write_bytes(folder / f"{name}.list", lines.encode()))

    close_export(folder, index, files)
    logger.info("%s", ", ".join(f"{name} {len(items)}" for name, items in names.items()))


def order_patients(patients: Iterable[str], scheme: str, seed: int) -> list[str]:
    """Order the patients of the lists. SSL4MIS takes the first lines as labeled.

    ACDC's patients are numbered by group, so the order of their numbers would give it labels of one group.

    Args:
        patients: Names of the patients.
        scheme: Scheme of the split. That of SSL4MIS has an order of its own.
        seed: Seed of the order in all other schemes.
    """
    ranked = rank(patients, seed)
    order = PUBLISHED_SPLITS[scheme].order if scheme in PUBLISHED_SPLITS else ()
    place = {number: index for index, number in enumerate(order)}
    # Sorting keeps the order of patients that have the same place.
    return sorted(ranked, key=lambda patient: place.get(patient_number(patient), len(place)))


def _h5_by_patient(index: Path) -> dict[str, list[Written]]:
    """Group the records of the H5 files in the index of published files by patient."""
    records = defaultdict[str, list[Written]](list)
    for record, _ in read_records(index):
        if record.path.suffix == ".h5":
            records[record.path.name.split("_")[0]].append(record)
    return records
