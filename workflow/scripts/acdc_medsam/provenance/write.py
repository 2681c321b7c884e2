"""Stage provenance: write down the sha256 of every published file and what the file was made from.

In: the indexes of the earlier stages, which contain the sha256 of each file. Out: ``provenance.json``, with which a
copy of the dataset can be compared anywhere; see ``verify.copy``.
"""

import logging
import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from acdc_medsam import __version__
from acdc_medsam.acdc.naming import INFO_NAME, LABEL_ENDING, volume_of
from acdc_medsam.formats.files import read_sealed, write_bytes
from acdc_medsam.formats.index import index_row, read_index_comments, read_records, write_index
from acdc_medsam.formats.provenance import FORMAT, content_digest, provenance_bytes

logger = logging.getLogger(__name__)

PACKAGES = ("h5py", "isal", "nibabel", "numpy", "pillow", "scikit-image", "segment-anything", "snakemake", "torch")
"""The packages that the numbers in the dataset depend on, and Snakemake."""

Entry = dict[str, Any]
"""Facts about a file: ``bytes``, ``sha256``, ``from`` (names of the files it was made from) and ``by`` (its maker)."""


@dataclass(frozen=True)
class Indexes:
    """The indexes of the files that the earlier stages made.

    Attributes:
        published: The index of published files.
        h5: The indexes of H5 files, one per patient.
        embeddings: The tables of embeddings of all batches; none for a dataset without embeddings.
        documents: The indexes of checks, report and card.
    """

    published: Path
    h5: Sequence[Path]
    embeddings: Sequence[Path]
    documents: Sequence[Path]


def trace_files(indexes: Indexes, output: Path, dataset: Path) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Work out what each published file was made from, using nothing but the indexes.

    Args:
        indexes: The indexes of the files that the earlier stages made.
        output: Root of the published layout.
        dataset: The folder ``data/ACDC`` below it.

    Returns:
        The files of the dataset, named relative to ``dataset``; and everything that they were made from: H5 files named
        relative to ``output``, raw files below ``raw/`` and weights below ``weights/``.
    """
    weights = _read_sources(indexes.embeddings, "weights")
    raw = _read_sources(indexes.h5, "raw")
    raw_of_volume = _group_by_volume(raw)
    maker_of_slice = {row["slice"]: row["maker"] for table in indexes.embeddings for row in read_sealed(table)}
    published = _read_published(indexes.published, output)
    volumes = {path.stem: str(path) for path in published if path.parent.name.endswith("_volumes")}

    files: dict[str, Entry] = {}
    origins = weights | raw
    for path, entry in published.items():
        if path.suffix == ".h5":
            origins[str(path)] = entry | {"from": raw_of_volume[volume_of(path.stem)]}
            continue

        name = path.relative_to(os.path.relpath(dataset, output))
        if path.suffix == ".png":
            entry["from"] = [volumes[volume_of(path.stem)]]
        elif path.parent.name == "image_embeddings":
            entry["by"] = maker_of_slice[path.stem]
            entry["from"] = [str(name.parents[1] / "images" / f"{path.stem}.png"), *weights]
        elif path.suffix == ".pt":
            entry["from"] = list(weights)
        files[str(name)] = entry
    return files, origins


def _group_by_volume(raw: Iterable[str]) -> dict[str, list[str]]:
    """Group the names of raw files by the volume that they were made into, with the Info.cfg of the patient last."""
    paths = [PurePosixPath(name) for name in raw]
    volumes = defaultdict(list)
    for path in paths:
        if path.name != INFO_NAME:
            # image.nii.gz, image_gt.nii.gz, volume.h5 and volume_slice_0.h5 are all files of one volume.
            volumes[volume_of(path.name.split(".")[0]).removesuffix(LABEL_ENDING)].append(str(path))
    info = {path.parent.name: str(path) for path in paths if path.name == INFO_NAME}
    for volume, names in volumes.items():
        patient = volume.split("_")[0]
        if patient in info:
            names.append(info[patient])
    return volumes


def _read_published(index: Path, output: Path) -> dict[PurePosixPath, Entry]:
    """Read bytes and sha256 of each published file, named relative to ``output``."""
    return {
        PurePosixPath(os.path.relpath(written.path, output)): {"bytes": written.bytes, "sha256": written.sha256}
        for written, _ in read_records(index)
    }


def _read_sources(indexes: Sequence[Path], folder: str) -> dict[str, Entry]:
    """Read the sha256 of the files that some indexes name as their sources, named below ``folder``."""
    comments = [read_index_comments(path) for path in indexes]
    return {f"{folder}/{name}": {"sha256": sha256} for one in comments for name, sha256 in one.sources.items()}


def git_commit(project: Path) -> dict[str, Any]:
    """Find the commit that is checked out, and whether a tracked file differs from it.

    Args:
        project: Root folder of the workflow.

    Returns:
        ``commit`` and ``modified``; both are None without git, or if the folder is not the root of a checkout.
    """

    def ask(*arguments: str) -> str:
        # Without the option, `git status` may write to the index of the repository.
        command = ["git", "--no-optional-locks", "-C", str(project), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 own words

    try:
        # A folder in the checkout of another project would yield the commit of that project.
        if Path(ask("rev-parse", "--show-toplevel")).resolve() == project.resolve():
            return {"commit": ask("rev-parse", "HEAD"), "modified": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError) as error:
        logger.info("the commit is not known: %s", error)
    return {"commit": None, "modified": None}


def software_versions() -> dict[str, str | None]:
    """Find the versions of Python and of PACKAGES that are in use, None for a package that is not installed."""
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
    """Write ``provenance.json``. Everything that differs between two equal runs is under its key ``written``.

    ``software`` and ``versions`` describe this run. Embeddings may be from an earlier run: ``makers`` has the versions
    and the code that they were encoded with.

    Args:
        indexes: The indexes of the files that the earlier stages made.
        provenance: Declared output, ``provenance.json``.
        index: Declared output, the index of ``provenance``.
        output: Root of the published layout.
        configuration: The configuration keys that the files depend on.
        code: Stage -> hash of the modules that it used.
        project: Root folder of the workflow.
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
