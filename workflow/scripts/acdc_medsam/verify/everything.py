"""A published dataset against its provenance and, where ``work/`` is still there, with what it was made from."""

import os
from pathlib import Path

from acdc_medsam.formats.index_check import Digests, check_indexes
from acdc_medsam.layout import find_indexes
from acdc_medsam.verify.copy import OUTPUT, Difference, check_copy


def check_everything(root: Path, threads: int) -> tuple[int, list[Difference], bool]:
    """Read every file of a dataset, and of the folder ``work/`` that it was made in.

    Args:
        root: The dataset's folder.
        threads: Number of files read at a time.

    Returns:
        Number of files read, everything that differs, and whether there is a folder ``work/``.
    """
    digest = Digests()
    files, differences = check_copy(root, threads, digest)
    work = root / OUTPUT / "work"
    has_work = (work / "published.tsv").is_file()
    if has_work:
        files_of_work, more = _check_work(root, work, threads, digest, {name for name, _ in differences})
        files += files_of_work
        differences += more
    return files, differences, has_work


def _check_work(root: Path, work: Path, threads: int, digest: Digests, known: set[str]) -> tuple[int, list[Difference]]:
    """Read every file that the indexes in ``work/`` name.

    Args:
        root: The dataset's folder.
        work: The folder ``work/`` that the dataset was made in.
        threads: Number of files read at a time.
        digest: Sha256 of files, with those that were read before.
        known: Names of files that are known to differ, as below the dataset's folder or as H5 files.

    Returns:
        Number of files read, and the differences that are not known yet.
    """
    indexes = find_indexes(work)
    tables = [work / "split.tsv"]
    findings = check_indexes(indexes, tables, root / OUTPUT, read_all=True, threads=threads, digest=digest)

    damaged = {os.path.relpath(path, root): reason for path, reason in findings.files.items()}
    # A published file is below the dataset's folder or an H5 file, and must not be listed a second time.
    new = [name for name in damaged if name not in known and name.removeprefix(f"{OUTPUT}/") not in known]
    return findings.read, [(name, damaged[name]) for name in sorted(new)]
