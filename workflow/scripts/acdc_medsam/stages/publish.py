"""Stage publish: link what the earlier stages made into the layout that training code reads, and list it.

In: the indexes and tables of all patients and batches, the split. Out: ``data/ACDC``, the H5 folders,
``manifest.tsv`` and an index of every published file. Only files of this dataset's own naming are replaced
or removed; anything else found there is left for stage verify to name.
"""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from acdc_medsam.acdc.naming import SUBSETS
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, Written, atomic_path, is_untouched, read_recorded, read_sealed, write_table
from acdc_medsam.formats.index import index_row, read_index_comments, read_records, write_index
from acdc_medsam.layout import (
    DATASET,
    H5_KINDS,
    MANIFEST_COLUMNS,
    POSITIONAL_ENCODING,
    PUBLISHED_NAME,
    SPLITS,
    expected_folders,
    h5_folder,
    image_folder,
    published_splits,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishSources:
    """What a dataset is published from; lists are in the order of patients or batches.

    ``embeddings`` is empty and ``encoding``, the index of the positional encoding, None for a dataset without
    embeddings.
    """

    h5: Sequence[Path]
    png: Sequence[Path]
    slices: Sequence[Path]
    split: Path
    embeddings: Sequence[Path] = ()
    encoding: Path | None = None


def plan_files(sources: PublishSources) -> tuple[dict[Path, Written], list[Row]]:
    """Work out what is published where.

    Returns:
        Published path, relative to the output folder -> record of its source; and the rows of the manifest.

    Raises:
        DatasetError: a table names a file that has gone.
    """
    splits = {row["slice"]: row for row in read_sealed(sources.split)}
    embeddings = {row["slice"]: (written, row) for table in sources.embeddings for written, row in whole_records(table)}
    png = _by_name(sources.png)
    plan = dict[Path, Written]()
    manifest = list[Row]()
    for row in (row for table in sources.slices for row in read_sealed(table)):
        name, split = row["slice"], splits[row["slice"]]["split"]
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


def _by_name(indexes: Sequence[Path]) -> dict[tuple[str, str], Written]:
    """(kind, file name) -> record, the kind being the name of the folder that the file lies in."""
    records = (written for index in indexes for written, _ in whole_records(index))
    return {(written.path.parent.name, written.path.name): written for written in records}


def whole_records(index: Path) -> list[tuple[Written, Row]]:
    """The record and the row of each file that an index names.

    Raises:
        DatasetError: A file has gone or is no longer what was made.
    """
    records = read_records(index)
    for written, _ in records:
        if not is_untouched(written):
            read_recorded(written.path, written.sha256)
    return records


def plan_h5(h5: Sequence[Path], subsets: Mapping[str, str]) -> dict[Path, Written]:
    """Work out where the H5 files go: published path -> record of its source.

    Args:
        h5: The patients' indexes of H5 files.
        subsets: Patient -> ``training`` or ``testing``.
    """
    plan = {}
    for index in h5:
        for (kind, name), written in _by_name([index]).items():
            plan[h5_folder(subsets[index.parent.name], kind) / name] = written
    return plan


def link_file(source: Path, target: Path, mode: str) -> None:
    """Make ``target`` show the content of ``source``; a reader sees the old file or the new one, whole.

    Args:
        source: existing file.
        target: path to make or replace.
        mode: ``auto`` (hard link, else copy), ``hard``, ``copy`` or ``symlink``.

    Raises:
        DatasetError: ``hard`` where the file system has no hard links.
    """
    if _is_published(source, target, mode):
        return
    with atomic_path(target, read_only=True) as temporary:
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
                shutil.copy2(source, temporary)


def _is_published(source: Path, target: Path, mode: str) -> bool:
    if mode == "symlink" or target.is_symlink():
        return mode == "symlink" and target.is_symlink() and target.exists() and target.samefile(source)
    if not target.exists():
        return False
    if target.samefile(source):
        return mode != "copy"
    ours, theirs = source.stat(), target.stat()
    # A copy made by copy2 keeps size and time; store and work files are never changed in place.
    return mode != "hard" and (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def remove_unplanned(output: Path, plan: Mapping[Path, Written]) -> None:
    """Remove what an earlier run published and this one does not; files of other names stay."""
    folders = [h5_folder(subset, kind) for subset in SUBSETS for kind in H5_KINDS]
    folders += expected_folders(SPLITS, with_embeddings=True)
    for folder in folders:
        for file in sorted((output / folder).glob("*")):
            if folder / file.name not in plan and PUBLISHED_NAME.fullmatch(file.name):
                file.unlink()


def make_folders(output: Path, wanted: Sequence[Path]) -> None:
    """Make the folders of the layout, empty ones too, and remove empty ones that do not belong to it."""
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
        sources: what to publish.
        subsets: patient -> ``training`` or ``testing``.
        left_out: why patients of the raw folder never entered the workflow, a line each.
        output: root of the published layout.
        manifest: declared output, one row per slice with MANIFEST_COLUMNS.
        index: declared output, every published file and the manifest; written last.
        link: see :func:`link_file`.
    """
    plan, rows = plan_files(sources)
    plan |= plan_h5(sources.h5, subsets)
    if sources.encoding is not None:
        plan[POSITIONAL_ENCODING], _ = whole_records(sources.encoding)[0]
    remove_unplanned(output, plan)
    make_folders(output, expected_folders(published_splits(rows), bool(sources.embeddings)))
    files = list[Written]()
    for target, written in plan.items():
        link_file(written.path, output / target, link)
        files.append(replace(written, path=output / target))
    files.append(write_table(manifest, MANIFEST_COLUMNS, rows))

    comments = [read_index_comments(path) for path in sources.png]
    write_index(
        index,
        [index_row(file, index) for file in files],
        left_out=[*left_out, *(text for comment in comments for text in comment.left_out)],
        notes=[text for comment in comments for text in comment.notes],
    )
    logger.info("%d files published, %d slices", len(plan), len(rows))
