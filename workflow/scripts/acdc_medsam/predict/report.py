"""The job of the workflow that describes all scans, and writes the table and the page."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.formats.kept import find_kept
from acdc_medsam.predict.layout import PAGE, mask_path, mask_record
from acdc_medsam.predict.prepared import read_jobs
from acdc_medsam.predict.results import describe_scans, write_results
from acdc_medsam.runtime.jobs import ON_SCREEN
from acdc_medsam.train.model import identify_model

logger = logging.getLogger(__name__)


def report_scans(
    prepared: Sequence[Path],
    unusable: Mapping[str, str],
    model: Path,
    encoder: str | None,
    output: Path,
    template: Path,
    index: Path,
    threads: int,
) -> None:
    """Describe all scans, and write the table and the page.

    Args:
        prepared: Index of each prepared scan, see :mod:`acdc_medsam.predict.prepared`.
        unusable: File or folder -> why it was not prepared.
        model: The trained weights.
        encoder: Name of the encoder that is assumed if nothing else says which it is.
        output: The folder of predictions.
        template: The Jinja2 template of the page.
        index: Declared output, the index of all files but the masks. Each note in it is a scan that failed.
        threads: Number of scans that are described at a time.

    Raises:
        DatasetError: A mask or a prepared file is missing or has changed.
    """
    jobs, failed = read_jobs(prepared)
    failed = {**unusable, **failed}
    facts = identify_model(model, encoder)
    masks = {job.name: find_kept(mask_path(output, job.name), mask_record(output, job.name)) for job in jobs}
    lost = [name for name, mask in masks.items() if mask is None]
    if lost:
        raise DatasetError(f"{mask_path(output, lost[0])} has gone or was changed; run the same command again")

    kept = {name: mask for name, mask in masks.items() if mask is not None}
    described = describe_scans(jobs, kept, output, facts.training, threads)
    results = write_results([job.name for job in jobs], failed, output, template, facts.describe())
    files = [*results, *(record for records in described.values() for record in records)]
    notes = [f"{path}: {reason}" for path, reason in failed.items()]
    write_index(index, [index_row(record, index) for record in files], notes=notes)
    logger.info("%d scans segmented; report: %s", len(jobs), output / PAGE, extra=ON_SCREEN)
