"""Stage verify: check every published file, and write down the outcome of each check.

In: ``data/ACDC``, the published H5 folders and the index of published files. Out: ``quality.json``, which lists all
problems and not just the first one.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from acdc_medsam import __version__
from acdc_medsam.acdc.naming import SUBSETS, h5_folder, volume_name
from acdc_medsam.formats.files import Row, read_table, write_bytes
from acdc_medsam.formats.index import index_row, read_index_comments, read_records, write_index
from acdc_medsam.layout import DATASET, MANIFEST
from acdc_medsam.runtime.code_hash import code_hash
from acdc_medsam.verify.checks import H5_AGREES, NOT_EMPTY, OF_EMBEDDINGS, Checks, Expectations, Finding
from acdc_medsam.verify.files import Records, check_slice, check_volume, slice_files, volume_files
from acdc_medsam.verify.layout import (
    check_folders,
    check_positional_encoding,
    check_split,
    find_positional_encodings,
)
from acdc_medsam.verify.sound_items import SoundItems

logger = logging.getLogger(__name__)


def run_checks(output: Path, published: Path, expected: Expectations, threads: int, remembered: Path) -> Checks:
    """Run every check on a published dataset.

    Slices and volumes that passed in an earlier run, and whose files have not changed since, are not read again.

    Args:
        output: Root of the published layout.
        published: The index of published files, with the record of each.
        expected: What the configuration asks for.
        threads: Number of threads that read files.
        remembered: File with the items that passed in earlier runs.

    Returns:
        The checks with all items that they looked at.
    """
    records = {written.path: written.sha256 for written, _ in read_records(published)}
    rows = read_table(output / DATASET / MANIFEST)
    folders = [output / h5_folder(subset, "volumes") for subset in SUBSETS]
    volumes = [path for folder in folders for path in sorted(folder.glob("*.h5"))]
    checks = Checks(expected)
    # The findings on files do not depend on how the dataset is split, so they outlast another split.
    context = (expected.size, expected.keep_empty, expected.embeddings, expected.split.has_testing)
    sound = SoundItems(remembered, f"{context} {code_hash(Path(__file__))}")

    for name, item, reason in _check_files(output, rows, volumes, expected, records, threads, sound):
        checks[name].add(item, reason)

    # Only volumes that exist were checked above.
    frames = {volume_name(row["patient"], int(row["frame"])) for row in rows}
    for frame in sorted(frames - {path.stem for path in volumes}):
        checks[H5_AGREES].add(frame, "its H5 volume is missing")

    check_split(rows, expected, checks)
    check_folders(output, rows, expected, checks)
    _skip_checks(checks, expected)
    sound.save()
    return checks


def _check_files(
    output: Path,
    rows: Sequence[Row],
    volumes: Sequence[Path],
    expected: Expectations,
    records: Records,
    threads: int,
    sound: SoundItems,
) -> Iterator[Finding]:
    """Check all slices, all volumes and the positional encoding. See :func:`run_checks` for the arguments."""
    root = output / DATASET
    row_of_slice = {row["slice"]: row for row in rows}
    # Another scheme or fold changes nothing for a slice that stays in its split.
    content = {row["slice"]: {key: row[key] for key in row if key not in ("fold", "scheme")} for row in rows}

    def look_at_slice(row: Row) -> list[Finding]:
        files = slice_files(root, row)
        facts = (content[row["slice"]], [records.get(file) for file in files])
        return sound.look_up(row["slice"], files, facts, lambda: check_slice(root, row, expected, records))

    def look_at_volume(path: Path) -> list[Finding]:
        files = volume_files(output, path, row_of_slice)
        facts = [(content.get(file.stem), records.get(file)) for file in files]
        return sound.look_up(
            path.stem, files, facts, lambda: check_volume(output, path, row_of_slice, expected, records)
        )

    with ThreadPoolExecutor(threads) as pool:
        yield from chain.from_iterable(pool.map(look_at_slice, rows))
        yield from chain.from_iterable(pool.map(look_at_volume, volumes))

    if expected.embeddings:
        files = find_positional_encodings(output)
        facts = (files, [records.get(file) for file in files])
        yield from sound.look_up("encoding", files, facts, lambda: check_positional_encoding(output, records))


def _skip_checks(checks: Checks, expected: Expectations) -> None:
    """Note the checks that do not apply to a dataset of this configuration, with the reason."""
    if not expected.embeddings:
        for name in OF_EMBEDDINGS:
            checks[name].skipped = "the dataset was made without embeddings (encoder.name: none)"
    if expected.keep_empty:
        checks[NOT_EMPTY].skipped = "slices without structures are kept, as asked for (images.keep_empty)"


def verify_dataset(
    output: Path,
    published: Path,
    quality: Path,
    index: Path,
    expected: Expectations,
    threads: int,
) -> None:
    """Check a published dataset and write ``quality.json``; :mod:`acdc_medsam.verify.accept` judges it.

    Args:
        output: Root of the published layout.
        published: The index of published files, which also names the patients left out and has notes on the data.
        quality: Declared output, ``quality.json``.
        index: Declared output, the index of ``quality``. The items that passed are remembered in a file beside it.
        expected: What the configuration asks for.
        threads: Number of threads that read files.
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
