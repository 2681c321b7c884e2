"""Segment scans from the command line: files and folders -> masks, measurements and a report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from acdc_medsam.errors import VolumeError, describe_os_error
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.formats.nifti import count_slices
from acdc_medsam.predict.find_scans import ScanFile, find_scans
from acdc_medsam.predict.prepare import ScanJob, prepare_scan
from acdc_medsam.predict.results import describe_scans, write_results
from acdc_medsam.predict.segment import SegmentOptions, segment_scans
from acdc_medsam.project import PROJECT
from acdc_medsam.train.model import identify_model

logger = logging.getLogger(__name__)

TEMPLATE = PROJECT / "workflow/report/page/predictions_page.html.j2"


@dataclass(frozen=True)
class Outcome:
    """What a run has done.

    Attributes:
        scans: Names of the scans that have masks.
        failed: File or folder -> why it could not be segmented.
    """

    scans: tuple[str, ...]
    failed: Mapping[str, str]


def predict_scans(
    model: Path, paths: Sequence[Path], output: Path, options: SegmentOptions, encoder: str | None = None
) -> Outcome:
    """Segment scans, and write their masks, measurements and report. What is done already is not done again.

    Args:
        model: The trained weights.
        paths: NIfTI files, and folders of them.
        output: The output folder.
        options: How the scans are segmented.
        encoder: Name of the encoder that is assumed if nothing else says which it is.

    Raises:
        AcdcError: The model or the device cannot be used.
    """
    facts = identify_model(model, encoder)
    found = find_scans(paths, output)
    if found.passed_over:
        logger.info("%d labels and long-axis scans in the folders are passed over", len(found.passed_over))
    failed = dict(found.failed)
    jobs = [job for file in found.scans if (job := _plan_scan(file, facts.percentile, failed))]

    masks, unusable = segment_scans(jobs, facts, output, options)
    failed |= unusable
    done = [job for job in jobs if job.name in masks]
    describe_scans(done, masks, output, facts.training, options.threads)
    names = [job.name for job in done]
    write_results(names, failed, output, TEMPLATE, facts.describe())
    return Outcome(tuple(names), failed)


def _plan_scan(file: ScanFile, percentile: float, failed: dict[str, str]) -> ScanJob | None:
    """Look at a scan's header; if it cannot be used, say why in ``failed``."""
    try:
        return ScanJob(
            name=file.name,
            path=file.path,
            slices=count_slices(file.path),
            sha256=sha256_file(file.path),
            info_sha256=sha256_file(file.info) if file.info else None,
            load=partial(prepare_scan, file, percentile),
        )
    except VolumeError as error:
        failed[str(file.path)] = str(error)
    except OSError as error:
        failed[str(file.path)] = describe_os_error(error)
    logger.warning("%s", failed[str(file.path)])
    return None


def describe_failures(outcome: Outcome) -> str:
    """Return a line for each file or folder that could not be segmented."""
    return "\n".join(f"{path}: {reason}" for path, reason in outcome.failed.items())
