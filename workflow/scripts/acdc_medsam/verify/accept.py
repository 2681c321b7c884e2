"""What follows from the checks: the dataset is accepted, or the run ends with a list of what is wrong.

The libraries that read images and volumes are not needed for this, so that the job takes half as long.
"""

import json
from pathlib import Path

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import read_recorded
from acdc_medsam.formats.index import index_row, read_records, write_index

SHOWN_FAILURES = 5
"""Number of failed items of a check that an error message names. quality.json lists all of them."""


def accept_dataset(verified: Path, accepted: Path) -> None:
    """Write down that the dataset was accepted, provided that every check passed.

    Args:
        verified: The index of ``quality.json``.
        accepted: Declared output, the index of the ``quality.json`` that was accepted.

    Raises:
        DatasetError: A check failed. The message names the failed checks, their first items and the reasons.
    """
    record, _ = read_records(verified)[0]
    quality = record.path
    result = json.loads(read_recorded(quality, record.sha256))

    lines = []
    for name, check in result["checks"].items():
        failed = check["failed"]
        if failed:
            lines.append(f"{name}: {len(failed)} of {check['items']} failed")
            lines += [f"    {one['item']}: {one['reason']}" for one in failed[:SHOWN_FAILURES]]
        if len(failed) > SHOWN_FAILURES:
            lines.append(f"    and {len(failed) - SHOWN_FAILURES} more, all in {quality}")

    if lines:
        raise DatasetError("the dataset did not pass:\n" + "\n".join(lines))
    write_index(accepted, [index_row(record, accepted)], notes=[f"{len(result['checks'])} checks passed"])
