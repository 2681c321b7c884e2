"""Describe scans with their masks, and write the table and the page on all of them."""

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, sha256_file, take_record, write_bytes
from acdc_medsam.formats.kept import Kept
from acdc_medsam.formats.nifti import read_scan
from acdc_medsam.predict.description import describe_scan
from acdc_medsam.predict.layout import DESCRIPTION, PAGE, TABLE, mask_path, scan_folder
from acdc_medsam.predict.page import write_page
from acdc_medsam.predict.pictures import draw_scan
from acdc_medsam.predict.prepare import ScanJob
from acdc_medsam.predict.scan import Segmented
from acdc_medsam.predict.table import write_measurements
from acdc_medsam.runtime.code_hash import code_hash
from acdc_medsam.runtime.progress import Progress
from acdc_medsam.stages.normalize import to_array

logger = logging.getLogger(__name__)


def describe_scans(
    jobs: Sequence[ScanJob], masks: Mapping[str, Kept], output: Path, training: Mapping[str, Any] | None, threads: int
) -> dict[str, list[Written]]:
    """Write the description and the pictures of each scan. Those of the same mask, by the same code, are kept.

    Args:
        jobs: The scans.
        masks: Name of each scan -> its mask.
        output: The folder of predictions.
        training: What the model was trained on, see :func:`acdc_medsam.train.facts.read_facts`; None if unknown.
        threads: Number of scans that are described at a time.

    Returns:
        Name of each scan -> records of its files, the description first.
    """
    shared = {"training": training, "code": code_hash(Path(__file__))}

    def describe(job: ScanJob) -> list[Written]:
        made_from = {"mask": masks[job.name].written.sha256, "info": job.info_sha256, **shared}
        return find_description(job.name, made_from, output) or write_description(job, made_from, output)

    described = dict[str, list[Written]]()
    with closing(Progress(len(jobs), unit="scan")) as progress, ThreadPoolExecutor(threads) as pool:
        for job, written in zip(jobs, pool.map(describe, jobs), strict=True):
            described[job.name] = written
            progress.advance()
    return described


def write_description(job: ScanJob, made_from: Mapping[str, Any], output: Path) -> list[Written]:
    """Describe and draw a scan.

    Args:
        job: The scan.
        made_from: Everything that the result depends on.
        output: The folder of predictions, in which the mask is.

    Returns:
        The records of the description and of the pictures.
    """
    mask = mask_path(output, job.name)
    labels = to_array(read_scan(mask), mask).astype("uint8")
    scan = job.load().scan
    segmented = Segmented(scan, labels.reshape(scan.images.shape))

    folder = scan_folder(output, job.name)
    description = describe_scan(segmented, made_from["training"])
    pictures = draw_scan(segmented, description)
    files = [write_bytes(folder / name, content) for name, content in pictures.items()]
    # Other slices may have been drawn for another mask.
    for path in {*folder.glob("*.webp")} - {file.path for file in files}:
        path.unlink()

    # The description is written last, so that its record names only pictures that are there.
    content = {
        "made_from": made_from,
        "pictures": {file.path.name: file.sha256 for file in files},
        "description": description,
    }
    return [write_bytes(folder / DESCRIPTION, (json.dumps(content, indent=1) + "\n").encode()), *files]


def find_description(name: str, made_from: Mapping[str, Any], output: Path) -> list[Written] | None:
    """Return the records of a scan's description and pictures if they are intact and were made of the same things."""
    folder = scan_folder(output, name)
    try:
        content = json.loads((folder / DESCRIPTION).read_bytes())
        pictures = {folder / Path(picture).name: sha256 for picture, sha256 in content["pictures"].items()}
        intact = all(sha256_file(path) == sha256 for path, sha256 in pictures.items())
        known = content["made_from"]
    # The file may have been changed in any way.
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    if not intact or known != made_from:
        return None
    return [take_record(path) for path in (folder / DESCRIPTION, *pictures)]


def read_description(name: str, output: Path) -> dict[str, Any]:
    """Read what was written about a scan.

    Raises:
        DatasetError: The file is missing or damaged.
    """
    path = scan_folder(output, name) / DESCRIPTION
    try:
        description: dict[str, Any] = json.loads(path.read_bytes())["description"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DatasetError(f"{path} is damaged ({error}); remove it and run the same command again") from error
    return description


def write_results(
    names: Sequence[str], failed: Mapping[str, str], output: Path, template: Path, settings: Mapping[str, Any]
) -> list[Written]:
    """Write the table and the page on all scans of a run.

    Args:
        names: Names of the scans, which :func:`describe_scans` has described.
        failed: File or folder -> why it could not be segmented.
        output: The folder of predictions.
        template: The Jinja2 template of the page.
        settings: How the scans were segmented, for the page.

    Returns:
        The records of the table and of the page.
    """
    descriptions = [read_description(name, output) for name in names]
    pictures = {name: scan_folder(output, name) for name in names}
    return [
        write_measurements(output / TABLE, descriptions),
        write_page(output / PAGE, template, descriptions, pictures, failed, settings),
    ]
