"""Push a verified dataset to the Hugging Face hub: what would be uploaded, and the upload itself.

Only files that ``provenance.json`` lists are uploaded, and only if all of them are as it says. The pictures and the
embeddings go first, in commits of a hundred files, which is what the hub recommends: an upload that breaks off goes on
with the files that are missing there. The tables and documents follow in the last commit, which also removes files of
another split. Until then, a dataset that was there before stays as it was.

``upload_folder`` of the hub's client is no use here: it takes patterns instead of names, and without its extension for
transfers it makes one commit of everything. ``upload_large_folder`` keeps its notes in the folder that it uploads.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from acdc_medsam.acdc.citation import DATASET_URL, LICENSE, LICENSE_URL, MEDSAM_URL
from acdc_medsam.acdc.naming import NAME
from acdc_medsam.errors import DatasetError, HubError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.hub.repository import Repository
from acdc_medsam.layout import DATASET, METADATA, PROVENANCE, PUBLISHED_NAME, SPLITS, expected_folders
from acdc_medsam.runtime.progress import Progress
from acdc_medsam.verify.copy import check_copy, describe_difference, plain_file, read_provenance

FILES_PER_COMMIT = 100
"""Most files that the hub recommends for a commit, which it would otherwise not finish in time.

Source: https://huggingface.co/docs/hub/repositories-recommendations
"""

SHOWN_DIFFERENCES = 20
"""Number of differences that are named; all of them are counted."""

REPOSITORY_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class Push:
    """What an upload would do.

    Attributes:
        root: The dataset's folder.
        repository: The repository to upload to.
        private: Whether the repository is, or will be, private.
        exists: Whether the repository exists already.
        files: Name -> ``bytes`` and ``sha256`` of every file of the dataset.
        missing: Names of the files that are not known to be in the repository, in the order of their upload.
        stale: Names of files of an earlier upload that no longer belong to the dataset.
    """

    root: Path
    repository: Repository
    private: bool
    exists: bool
    files: Mapping[str, Mapping[str, Any]]
    missing: tuple[str, ...]
    stale: tuple[str, ...]


def plan_push(root: Path, name: str, private: bool, threads: int = 8) -> Push:
    """Verify a dataset, and find out what has to be uploaded. Nothing is changed.

    Args:
        root: The folder ``data/ACDC``, or a copy of it.
        name: Name of the repository, ``USER/NAME`` or ``ORGANIZATION/NAME``.
        private: Whether only the owner of the repository may see it.
        threads: Number of files that are read at a time.

    Raises:
        DatasetError: A file differs from ``provenance.json``, is missing, or does not belong there.
        HubError: The name is not one of a repository, the repository is not as private as asked for, or the hub
            refuses the login or cannot be reached.
    """
    if not REPOSITORY_NAME.fullmatch(name):
        raise HubError(f"{name!a} is not a name of a repository on the hub: write it as USER/NAME")
    _require_verified(root, threads)
    files = _list_files(root)

    repository = Repository(name)
    found = repository.is_private()
    if found not in (None, private):
        was, option = ("private", "--private") if found else ("public", "--public")
        raise HubError(
            f"{repository.url} exists and is {was}: give the option {option}, or change that in the settings of the "
            "repository"
        )

    there = {} if found is None else repository.list_files()
    missing = [name for name, entry in files.items() if there.get(name) != entry["sha256"]]
    return Push(
        root=root,
        repository=repository,
        private=private,
        exists=found is not None,
        files=files,
        missing=tuple(sorted(missing, key=_upload_order)),
        stale=tuple(sorted(name for name in there if name not in files and _is_of_layout(name))),
    )


def _require_verified(root: Path, threads: int) -> None:
    """Refuse a dataset that is not as its ``provenance.json`` says.

    Raises:
        DatasetError: Something differs.
    """
    _, differences = check_copy(root, threads)
    if not differences:
        return

    lines = list(map(describe_difference, differences))
    if len(lines) > SHOWN_DIFFERENCES:
        lines[SHOWN_DIFFERENCES:] = [f"and {len(lines) - SHOWN_DIFFERENCES} more"]
    raise DatasetError(
        f"{root} is not as its {PROVENANCE} says, so nothing was uploaded:\n" + "\n".join(lines) + "\nWhere the "
        "dataset was made, `snakemake repair` makes it whole; remove what does not belong there"
    )


def _list_files(root: Path) -> dict[str, dict[str, Any]]:
    """Return the entry of each file of a verified dataset, ``provenance.json`` included."""
    content, _ = read_provenance(root)
    path = root / PROVENANCE
    own = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    return {**content["files"], PROVENANCE: own}


def _is_of_layout(name: str) -> bool:
    """Whether a file of the repository is named like one that a push uploads; other files there are left alone."""
    path = DATASET / name
    folders = expected_folders(SPLITS, with_embeddings=True)
    if path.name == METADATA:
        return path.parent in {folder.parent for folder in folders} - {DATASET}
    return path.parent in folders and PUBLISHED_NAME.fullmatch(path.name) is not None


def _is_document(name: str) -> bool:
    """Whether a file is a table or a document, which describes all the others."""
    return PurePosixPath(name).suffix not in (".png", ".pt")


def _upload_order(name: str) -> tuple[bool, str, str]:
    """Sort documents to the end, and the files of a slice beside each other, so that commits are of equal size."""
    return _is_document(name), PurePosixPath(name).stem, name


def describe_push(push: Push) -> str:
    """Say what will be uploaded and where to, and what the license of the data asks for."""
    size = sum(entry["bytes"] for entry in push.files.values())
    amount = f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
    visibility = "private" if push.private else "public: everyone can see and download it"
    there = len(push.files) - len(push.missing)
    lines = [
        f"{push.root}: {len(push.files)} files, {amount}, all as {PROVENANCE} says",
        f"to {push.repository.url} ({'exists' if push.exists else 'new'}, {visibility})",
    ]
    if there:
        lines.append(f"{there} of the files are there already")
    if push.stale:
        lines.append(f"{len(push.stale)} files there belong to an earlier upload and will be removed")

    return "\n".join([*lines, "", _describe_license()])


def _describe_license() -> str:
    """Say what the license of the dataset asks of whoever passes it on, and whom to cite."""
    return "\n".join(
        [
            f"{NAME} ({DATASET_URL}), and everything that is made from it,",
            f"is under {LICENSE} ({LICENSE_URL}):",
            "  non-commercial: it may not be used for commercial purposes",
            "  attribution: cite O. Bernard et al., IEEE Transactions on Medical Imaging 37(11), 2018, wherever it is",
            f"    used, and MedSAM ({MEDSAM_URL}) where its embeddings are",
            "  share alike: pass it on under this license only; README.md of the dataset names it",
        ]
    )


def upload(push: Push) -> None:
    """Upload a dataset as planned. If it breaks off, another push goes on with the files that are missing.

    Args:
        push: The plan, from :func:`plan_push`.

    Raises:
        DatasetError: A file has changed since the dataset was verified.
        HubError: The hub refuses the upload or cannot be reached.
    """
    if not push.exists:
        push.repository.create(push.private)
    documents = [name for name in push.missing if _is_document(name)]
    others = [name for name in push.missing if not _is_document(name)]
    batches = [others[start : start + FILES_PER_COMMIT] for start in range(0, len(others), FILES_PER_COMMIT)]

    progress = Progress(len(push.missing), "file")
    try:
        for number, batch in enumerate([*batches, documents]):
            last = number == len(batches)
            push.repository.commit(
                files=_find_paths(push, batch),
                removed=push.stale if last else (),
                message=f"Upload {NAME} for MedSAM, part {number + 1} of {len(batches) + 1}",
            )
            for _ in batch:
                progress.advance()
    finally:
        progress.close()


def _find_paths(push: Push, names: Iterable[str]) -> dict[str, tuple[Path, str]]:
    """Return the path of each file, with links resolved, and its sha256.

    Raises:
        DatasetError: A file has gone, or lies outside of the dataset.
    """
    return {name: (plain_file(push.root, name), push.files[name]["sha256"]) for name in names}
