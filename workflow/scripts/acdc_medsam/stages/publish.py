"""Stage publish: files of the earlier stages -> the layout that training code reads.

Input: the indexes and tables of all patients and batches, and the split. Output: ``data/ACDC``, the H5 folders,
``manifest.tsv``, the ``metadata.csv`` of each split, and an index of every published file. Only files whose names
follow the dataset's pattern are replaced or removed; stage verify reports any other file.
"""

import logging
import os
import shutil
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from acdc_medsam.acdc.naming import H5_KINDS, SUBSETS, h5_folder
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, Written, atomic_path, is_untouched, read_recorded, read_sealed, write_table
from acdc_medsam.formats.index import index_row, read_index_comments, read_records, write_index
from acdc_medsam.layout import (
    DATASET,
    MANIFEST_COLUMNS,
    METADATA,
    POSITIONAL_ENCODING,
    PUBLISHED_NAME,
    SPLITS,
    expected_folders,
    image_folder,
    metadata_files,
    published_splits,
)
from acdc_medsam.stages.hub_metadata import write_metadata

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishSources:
    """Indexes and tables that a dataset is published from.

    Attributes:
        h5: Index of the H5 files of each patient.
        png: Index of the PNG files of each patient.
        slices: Table of slices of each patient.
        split: Table with the split and fold of each slice.
        embeddings: Index of each batch of embeddings; empty for a dataset without embeddings.
        encoding: Index of the positional encoding; None for a dataset without embeddings.
    """

    h5: Sequence[Path]
    png: Sequence[Path]
    slices: Sequence[Path]
    split: Path
    embeddings: Sequence[Path] = ()
    encoding: Path | None = None


def plan_files(sources: PublishSources) -> tuple[dict[Path, Written], list[Row]]:
    """Assign a published path to each PNG file and embedding of the patients that are in a split.

    Returns:
        Published path, relative to the output folder -> record of the source; and the rows of the manifest.

    Raises:
        DatasetError: A file in an index is missing or has changed.
    """
    splits = {row["slice"]: row for row in read_sealed(sources.split)}
    records = (record for table in sources.embeddings for record in read_intact_records(table))
    embeddings = {row["slice"]: (written, row) for written, row in records}
    png = _find_by_name(sources.png)

    plan = dict[Path, Written]()
    manifest = list[Row]()
    for row in (row for table in sources.slices for row in read_sealed(table)):
        name = row["slice"]
        split = splits[name]["split"]
        if not split:
            continue
        for kind in ("images", "masks"):
            plan[image_folder(split, kind) / f"{name}.png"] = png[kind, f"{name}.png"]

        line = row | splits[name]
        if sources.embeddings:
            written, embedding = embeddings[name]
            path = image_folder(split, "image_embeddings") / f"{name}.pt"
            plan[path] = written
            line |= {
                "embedding": str(path.relative_to(DATASET)),
                "embedding_digest": embedding["digest"],
                "embedding_sha256": embedding["sha256"],
                "encoder": embedding["encoder"],
            }
        manifest.append({column: line.get(column, "") for column in MANIFEST_COLUMNS})
    return plan, manifest


def describe_unsplit(sources: PublishSources) -> list[str]:
    """Name the patients that are in no split, in one line; no line if there are none."""
    patients = sorted({row["slice"].split("_")[0] for row in read_sealed(sources.split) if not row["split"]})
    return [f"in no split, and therefore with H5 files only: {', '.join(patients)}"] if patients else []


def _find_by_name(indexes: Sequence[Path]) -> dict[tuple[str, str], Written]:
    """Return (folder name, file name) -> record of each file in some indexes. The folder name is the kind of file."""
    records = (written for index in indexes for written, _ in read_intact_records(index))
    return {(written.path.parent.name, written.path.name): written for written in records}


def read_intact_records(index: Path) -> list[tuple[Written, Row]]:
    """Read the record and the row of each file in an index, and check that the file is intact.

    Raises:
        DatasetError: A file is missing or has changed.
    """
    records = read_records(index)
    for written, _ in records:
        if not is_untouched(written):
            read_recorded(written.path, written.sha256)
    return records


def plan_h5(h5: Sequence[Path], subsets: Mapping[str, str]) -> dict[Path, Written]:
    """Assign a published path to each H5 file.

    Args:
        h5: Index of the H5 files of each patient.
        subsets: Patient -> ``training`` or ``testing``.

    Returns:
        Published path, relative to the output folder -> record of the source.
    """
    plan = {}
    for index in h5:
        for (kind, name), written in _find_by_name([index]).items():
            plan[h5_folder(subsets[index.parent.name], kind) / name] = written
    return plan


def link_file(source: Path, target: Path, mode: str) -> None:
    """Link or copy ``source`` to ``target`` atomically: a reader sees either the old file or the new one.

    Args:
        source: An existing file.
        target: Path to make or replace.
        mode: ``auto`` (hard link, else copy), ``hard``, ``copy`` or ``symlink``.

    Raises:
        DatasetError: ``mode`` is ``hard``, but the file system does not support hard links.
    """
    if _is_published(source, target, mode):
        return

    with atomic_path(target, read_only=True) as temporary:
        # Links cannot replace a file, so only the name of the temporary file is used.
        temporary.unlink()
        if mode == "symlink":
            temporary.symlink_to(os.path.relpath(source, target.parent))
        elif mode == "copy":
            shutil.copy2(source, temporary)
        else:
            try:
                os.link(source, temporary)
            except OSError as error:
                if mode == "hard":
                    raise DatasetError(
                        f"{target}: no hard link to {source} can be made ({error.strerror}); "
                        "set 'publish: {link: copy}' in config.yaml"
                    ) from error
                # With "auto", a file system without hard links, or another disk, gets a copy.
                shutil.copy2(source, temporary)


def _is_published(source: Path, target: Path, mode: str) -> bool:
    """Whether ``target`` is already the link to, or the copy of, ``source`` that ``mode`` asks for."""
    try:
        theirs = target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    is_symlink = stat.S_ISLNK(theirs.st_mode)
    if mode == "symlink" or is_symlink:
        return mode == "symlink" and is_symlink and target.exists() and target.samefile(source)

    # One file under two names is a hard link.
    ours = source.stat()
    if os.path.samestat(ours, theirs):
        return mode != "copy"
    # copy2 keeps size and time, and no file in work/ is ever changed in place.
    return mode != "hard" and (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def remove_unplanned(output: Path, planned: Collection[Path]) -> None:
    """Remove published files of an earlier run that are not planned; files of other names are kept.

    Args:
        output: Root of the published layout.
        planned: Paths of the files to publish, relative to ``output``.
    """
    folders = [h5_folder(subset, kind) for subset in SUBSETS for kind in H5_KINDS]
    folders += expected_folders(SPLITS, with_embeddings=True)
    for folder in folders:
        for file in sorted((output / folder).glob("*")):
            if folder / file.name not in planned and PUBLISHED_NAME.fullmatch(file.name):
                file.unlink()

    for path in (DATASET / split / METADATA for split in SPLITS):
        if path not in planned:
            (output / path).unlink(missing_ok=True)


def make_folders(output: Path, wanted: Sequence[Path]) -> None:
    """Make the wanted folders of the layout, and remove the others if they are empty."""
    for folder in wanted:
        (output / folder).mkdir(parents=True, exist_ok=True)
    for folder in expected_folders(SPLITS, with_embeddings=True):
        for path in (output / folder, output / folder.parent):
            if path.is_dir() and not any(path.iterdir()) and folder not in wanted:
                path.rmdir()


def publish_dataset(
    sources: PublishSources,
    subsets: Mapping[str, str],
    left_out: Sequence[str],
    output: Path,
    manifest: Path,
    index: Path,
    link: str,
) -> None:
    """Publish the dataset below ``output``.

    Args:
        sources: Indexes and tables that the dataset is published from.
        subsets: Patient -> ``training`` or ``testing``.
        left_out: One line for each patient that never entered the workflow, with the reason.
        output: Root of the published layout.
        manifest: Declared output with one row per slice and the columns MANIFEST_COLUMNS.
        index: Declared output, the index of every published file and the manifest, written last.
        link: Mode for :func:`link_file`.

    Raises:
        DatasetError: A file is missing or has changed, or hard links are not supported.
    """
    plan, rows = plan_files(sources)
    plan |= plan_h5(sources.h5, subsets)
    if sources.encoding is not None:
        plan[POSITIONAL_ENCODING], _ = read_intact_records(sources.encoding)[0]

    # While a dataset is being republished, a reader sees either the old or the new version of each file; a file that
    # moves to another split can be missing for a moment.
    remove_unplanned(output, {*plan, *metadata_files(rows)})
    make_folders(output, expected_folders(published_splits(rows), bool(sources.embeddings)))
    files = list[Written]()
    for target, written in plan.items():
        link_file(written.path, output / target, link)
        files.append(replace(written, path=output / target))
    files += write_metadata(output, rows)
    files.append(write_table(manifest, MANIFEST_COLUMNS, rows))

    # The indexes of stage render repeat the reasons and notes of stage normalize.
    comments = [read_index_comments(path) for path in sources.png]
    write_index(
        index,
        [index_row(file, index) for file in files],
        left_out=[*left_out, *(text for comment in comments for text in comment.left_out)],
        notes=[*(text for comment in comments for text in comment.notes), *describe_unsplit(sources)],
    )
    logger.info("%d files published, %d slices", len(plan), len(rows))
