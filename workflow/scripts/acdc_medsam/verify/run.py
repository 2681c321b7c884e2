"""Stage verify: look at every published file and write down, check by check, what holds and what does not.

In: ``data/ACDC``, the published H5 folders and the index of what was published. Out: ``quality.json``. Every
problem is listed, not the first alone.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from acdc_medsam import __version__
from acdc_medsam.acdc.naming import SUBSETS, volume_name
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, read_recorded, read_table, write_bytes
from acdc_medsam.formats.index import index_row, read_index_comments, read_records, write_index
from acdc_medsam.layout import DATASET, MANIFEST, h5_folder
from acdc_medsam.runtime.code_hash import code_hash
from acdc_medsam.verify.checks import H5_AGREES, NOT_EMPTY, OF_EMBEDDINGS, Checks, Expectations, Finding
from acdc_medsam.verify.files import check_slice, check_volume, slice_files, volume_files
from acdc_medsam.verify.layout import (
    check_folders,
    check_positional_encoding,
    check_split,
    positional_encodings,
)
from acdc_medsam.verify.sound_items import SoundItems

logger = logging.getLogger(__name__)

SHOWN_FAILURES = 5
"""Failed items of a check that an error message names; quality.json has them all."""


def run_checks(output: Path, published: Path, expected: Expectations, threads: int, remembered: Path) -> Checks:
    """Run every check on a published dataset.

    Slices and volumes that an earlier run found sound, and whose files have not changed since, are not read again.

    Args:
        output: Root of the published layout.
        published: The index of published files, with the record of each.
        expected: What the configuration asked for.
        threads: Number of threads that read files.
        remembered: File that says which items earlier runs found sound.
    """
    root = output / DATASET
    records = {written.path: written.sha256 for written, _ in read_records(published)}
    rows = read_table(root / MANIFEST)
    by_name = {row["slice"]: row for row in rows}
    folders = [output / h5_folder(subset, "volumes") for subset in SUBSETS]
    volumes = [path for folder in folders for path in sorted(folder.glob("*.h5"))]
    checks = Checks(expected)
    sound = SoundItems(remembered, f"{expected} {code_hash(Path(__file__))}")

    def look_at_slice(row: Row) -> list[Finding]:
        files = slice_files(root, row)
        facts = (row, [records.get(file) for file in files])
        return sound.look(row["slice"], files, facts, lambda: check_slice(root, row, expected, records))

    def look_at_volume(path: Path) -> list[Finding]:
        files = volume_files(output, path, by_name)
        facts = [(by_name.get(file.stem), records.get(file)) for file in files]
        return sound.look(path.stem, files, facts, lambda: check_volume(output, path, by_name, expected, records))

    with ThreadPoolExecutor(threads) as pool:
        _record(checks, pool.map(look_at_slice, rows))
        _record(checks, pool.map(look_at_volume, volumes))
    frames = {volume_name(row["patient"], int(row["frame"])) for row in rows}
    for frame in sorted(frames - {path.stem for path in volumes}):
        checks[H5_AGREES].look(frame, "its H5 volume is missing")
    check_split(rows, expected, checks)
    check_folders(output, rows, expected, checks)
    if expected.embeddings:
        files = positional_encodings(output)
        facts = (files, [records.get(file) for file in files])
        _record(checks, [sound.look("encoding", files, facts, lambda: check_positional_encoding(output, records))])
    else:
        for name in OF_EMBEDDINGS:
            checks[name].skipped = "the dataset was made without embeddings (encoder.name: none)"
    if expected.keep_empty:
        checks[NOT_EMPTY].skipped = "slices without structures are kept, as asked for (images.keep_empty)"
    sound.save()
    return checks


def _record(checks: Checks, findings: Iterable[list[Finding]]) -> None:
    for found in findings:
        for name, item, reason in found:
            checks[name].look(item, reason)


def verify_dataset(
    output: Path,
    published: Path,
    quality: Path,
    index: Path,
    expected: Expectations,
    threads: int,
) -> None:
    """Write ``quality.json``; whether the dataset passed is in it, and :func:`accept_dataset` acts on it.

    Args:
        output: root of the published layout.
        published: the index of published files, for the patients left out and the remarks on the data.
        quality: declared output.
        index: declared output, the index of ``quality``; beside it is remembered which items were sound.
        expected: what the configuration asked for.
        threads: number of reading threads.
    """
    checks = run_checks(output, published, expected, threads, index.with_name("sound_items.json"))
    comments = read_index_comments(published)
    splits = Counter(row["split"] for row in read_table(output / DATASET / MANIFEST))
    result: dict[str, Any] = {
        "passed": checks.passed,
        "software": f"acdc-medsam {__version__}",
        "slices": dict(sorted(splits.items())),
        "checks": {name: {"passed": not check.failed, **asdict(check)} for name, check in checks.items()},
        "left_out": comments.left_out,
        "notes": comments.notes,
    }
    written = write_bytes(quality, (json.dumps(result, indent=2, ensure_ascii=False) + "\n").encode())
    write_index(index, [index_row(written, index)])
    logger.info("%d checks, %s", len(checks), "all passed" if checks.passed else "some failed")


def accept_dataset(verified: Path, accepted: Path) -> None:
    """Write down that the dataset was accepted, if every check passed.

    Args:
        verified: The index of ``quality.json``.
        accepted: Declared output, the index of the ``quality.json`` that was accepted.

    Raises:
        DatasetError: Which checks failed, on which items, and why.
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
