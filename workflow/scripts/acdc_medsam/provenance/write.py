"""Stage provenance: write down what every published file is and what it was made from.

In: the indexes of the earlier stages, which have the sha256 of each file, and the dataset's own documents. Out:
``provenance.json``, against which a copy of the dataset can be checked anywhere; see ``verify.copy``.
"""

import logging
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from acdc_medsam import __version__
from acdc_medsam.acdc.naming import volume_of
from acdc_medsam.formats.files import read_sealed, write_bytes
from acdc_medsam.formats.index import index_row, read_index_comments, read_records, write_index
from acdc_medsam.formats.provenance import FORMAT, content_digest, provenance_bytes

logger = logging.getLogger(__name__)

PACKAGES = ("h5py", "nibabel", "numpy", "pillow", "scikit-image", "segment-anything", "snakemake", "torch")
"""Packages that the numbers in the dataset depend on, and the workflow's engine."""

Entry = dict[str, Any]
"""``bytes`` and ``sha256`` of a file, ``from``, the names of what it was made from, and ``by``, what made it."""


@dataclass(frozen=True)
class Indexes:
    """What the earlier stages wrote down of the files that they made.

    Attributes:
        published: The index of published files.
        h5: The patients' indexes of H5 files.
        embeddings: The tables of all batches; none for a dataset without embeddings.
        documents: The indexes of checks, report and card.
    """

    published: Path
    h5: Sequence[Path]
    embeddings: Sequence[Path]
    documents: Sequence[Path]


def trace_files(indexes: Indexes, output: Path, dataset: Path) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Work out what each published file was made from, from the indexes alone.

    Args:
        indexes: What the earlier stages wrote down.
        output: Root of the published layout.
        dataset: ``data/ACDC`` below it.

    Returns:
        Files, named as below ``dataset``; and everything that they were made from: H5 files, named as below
        ``output``, raw files as below ``raw/``, weights as below ``weights/``.
    """
    made_by = {row["slice"]: row["maker"] for table in indexes.embeddings for row in read_sealed(table)}
    weights, raw = _sources(indexes.embeddings, "weights"), _sources(indexes.h5, "raw")
    raw_names = {PurePosixPath(name).name.split(".")[0]: name for name in raw if not name.endswith("/Info.cfg")}
    origins, files = weights | raw, dict[str, Entry]()
    published = {}
    for written, _ in read_records(indexes.published):
        path = PurePosixPath(os.path.relpath(written.path, output))
        published[path] = {"bytes": written.bytes, "sha256": written.sha256}
    volumes = {path.stem: str(path) for path in published if path.parent.name.endswith("_volumes")}
    for path, entry in published.items():
        if path.suffix == ".h5":
            image, label = (raw_names[volume_of(path.stem) + ending] for ending in ("", "_gt"))
            info = str(PurePosixPath(image).with_name("Info.cfg"))
            origins[str(path)] = entry | {"from": [image, label, info]}
            continue
        name = path.relative_to(os.path.relpath(dataset, output))
        if path.suffix == ".tsv":
            files[str(name)] = entry
            continue
        if path.suffix == ".png":
            made_from = [volumes[volume_of(path.stem)]]
        elif path.parent.name == "image_embeddings":
            made_from = [str(name.parents[1] / "images" / f"{path.stem}.png"), *weights]
            entry = entry | {"by": made_by[path.stem]}
        else:
            made_from = list(weights)
        files[str(name)] = entry | {"from": made_from}
    return files, origins


def _sources(indexes: Sequence[Path], folder: str) -> dict[str, Entry]:
    comments = [read_index_comments(path) for path in indexes]
    return {f"{folder}/{name}": {"sha256": sha256} for one in comments for name, sha256 in one.sources.items()}


def git_commit(project: Path) -> dict[str, Any]:
    """Commit that is checked out, and whether a tracked file differs from it; None where it cannot be said.

    It cannot be said where the project is no checkout of its own, or without git.
    """

    def ask(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(project), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 own words

    try:
        if Path(ask("rev-parse", "--show-toplevel")).resolve() == project.resolve():
            return {"commit": ask("rev-parse", "HEAD"), "modified": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError) as error:
        logger.info("no commit can be named: %s", error)
    return {"commit": None, "modified": None}


def software_versions() -> dict[str, str | None]:
    """Versions of Python and of PACKAGES here and now; None for a package that is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def write_provenance(
    indexes: Indexes,
    provenance: Path,
    index: Path,
    output: Path,
    configuration: Mapping[str, Any],
    code: Mapping[str, str],
    project: Path,
) -> None:
    """Write ``provenance.json``. All that differs between two equal runs stands under its key ``written``.

    ``software`` and ``versions`` are those of this run. What made embeddings, which may be from an earlier one, stands
    under ``makers``, as it was written down when they were encoded.

    Args:
        indexes: What the earlier stages wrote down.
        provenance: Declared output.
        index: Declared output, the index of ``provenance``.
        output: root of the published layout.
        configuration: the keys that the files depend on.
        code: stage -> hash of the modules that it used.
        project: root of the workflow's own folder.
    """
    files, origins = trace_files(indexes, output, provenance.parent)
    documents = (written for path in indexes.documents for written, _ in read_records(path))
    files |= {written.path.name: {"bytes": written.bytes, "sha256": written.sha256} for written in documents}
    makers = {name: facts for table in indexes.embeddings for name, facts in read_index_comments(table).makers.items()}
    content: dict[str, Any] = {
        "format": FORMAT,
        "software": {"name": "acdc-medsam", "version": __version__, **git_commit(project), "code": dict(code)},
        "versions": software_versions(),
        "makers": dict(sorted(makers.items())),
        "configuration": dict(configuration),
        "files": dict(sorted(files.items())),
        "origins": dict(sorted(origins.items())),
    }
    time = datetime.now(UTC).isoformat(timespec="seconds")
    content["written"] = {"time": time, "sha256": content_digest(content, time)}
    written = write_bytes(provenance, provenance_bytes(content))
    write_index(index, [index_row(written, index)])
    logger.info("%d files, made from %d", len(files), len(origins))
