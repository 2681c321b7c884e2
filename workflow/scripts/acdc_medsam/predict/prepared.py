"""Files of scans that a job of the workflow has prepared for the jobs that segment and describe them.

Beside its index, a scan has ``gray.nii.gz``, 8-bit gray values in the place of the scan, and ``scan.json`` with the
other facts. A scan that cannot be used has only ``scan.json``, which says why.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.files import Written, read_recorded, sha256_file, write_bytes
from acdc_medsam.formats.index import index_row, read_records, write_index
from acdc_medsam.formats.nifti import bytes_like, read_scan
from acdc_medsam.predict.find_scans import ScanFile
from acdc_medsam.predict.prepare import Prepared, ScanJob, prepare_scan
from acdc_medsam.predict.scan import Scan
from acdc_medsam.runtime.outside import require_announced
from acdc_medsam.stages.normalize import to_array

logger = logging.getLogger(__name__)

GRAY, FACTS = "gray.nii.gz", "scan.json"


def prepare_files(file: ScanFile, index: Path, percentile: float, announced: Mapping[str, str]) -> None:
    """Prepare a scan, or write down why it cannot be used.

    Args:
        file: The scan's file.
        index: Declared output, the index of the files, which are written beside it.
        percentile: Percentile for :func:`acdc_medsam.stages.normalize.normalize_intensities`.
        announced: File name -> hex sha256 of the scan's file and of Info.cfg when the run was planned.

    Raises:
        DatasetError: A file has changed since the run was planned.
    """
    facts: dict[str, Any] = {"path": str(file.path)}
    written = list[Written]()
    try:
        prepared = prepare_scan(file, percentile)
    except VolumeError as error:
        logger.warning("%s", error)
        facts["failed"] = str(error)
        # A file from an earlier run may be there.
        index.with_name(GRAY).unlink(missing_ok=True)
    else:
        require_announced(file.path, prepared.sha256, announced[file.path.name])
        images = prepared.scan.images
        scan = {name: value for name, value in vars(prepared.scan).items() if name != "images"}
        info = sha256_file(file.info) if file.info else None
        facts |= {"scan": scan, "slices": math.prod(images.shape[:2]), "sha256": prepared.sha256, "info_sha256": info}
        written.append(write_bytes(index.with_name(GRAY), bytes_like(images, prepared.header)))

    written.append(write_bytes(index.with_name(FACTS), (json.dumps(facts, indent=1) + "\n").encode()))
    write_index(index, [index_row(record, index) for record in written])


def read_jobs(indexes: Sequence[Path]) -> tuple[list[ScanJob], dict[str, str]]:
    """Read what was prepared.

    Args:
        indexes: Index of each scan.

    Returns:
        The scans that can be used; and file of each other scan -> why it cannot.

    Raises:
        DatasetError: An index or a file of facts is missing or has changed.
    """
    jobs = list[ScanJob]()
    failed = dict[str, str]()
    for index in indexes:
        records = {record.path.name: record for record, _ in read_records(index)}
        facts = json.loads(read_recorded(records[FACTS].path, records[FACTS].sha256))
        if "failed" in facts:
            failed[facts["path"]] = facts["failed"]
            continue
        jobs.append(
            ScanJob(
                name=facts["scan"]["name"],
                path=Path(facts["path"]),
                sha256=facts["sha256"],
                info_sha256=facts["info_sha256"],
                slices=facts["slices"],
                load=partial(_load, records[GRAY], facts),
            )
        )
    return jobs, failed


def _load(gray: Written, facts: Mapping[str, Any]) -> Prepared:
    """Load a prepared scan.

    Raises:
        VolumeError: Its file cannot be read.
        DatasetError: Its file has changed since it was made.
    """
    image = read_scan(gray.path)
    require_announced(gray.path, image.sha256, gray.sha256)
    voxels = to_array(image, gray.path)
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in facts["scan"].items()
    }
    values["images"] = voxels if voxels.ndim == 4 else voxels[None]
    scan = Scan(**values)
    return Prepared(scan, image.header, facts["sha256"])
