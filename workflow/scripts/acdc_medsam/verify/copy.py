"""Check a copy of the published dataset against its provenance.json: needs neither Snakemake nor the raw data.

provenance.json may come from anywhere, so nothing in it is trusted: no name leads out of the folder, and only plain
files are opened.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from acdc_medsam.encoders.registry import ENCODERS, fingerprint
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.formats.provenance import FORMAT, content_digest, provenance_bytes
from acdc_medsam.layout import MANIFEST, PROVENANCE
from acdc_medsam.runtime.progress import Progress

OUTPUT = Path("../..")
"""From the dataset's folder to the output folder that it was published below, where it was not moved."""

H5_NAME = re.compile(r"ACDC_(training|testing)_(volumes|slices)/[\w.-]+\.h5", re.ASCII)
"""Name of an H5 file as below the output folder."""

SAFE_NAME = re.compile(r"(?!.*(^|/)\.\.?(/|$))[\w.-]+(/[\w.-]+)*", re.ASCII)
"""A relative path of plain names, none of them . or .."""

Difference = tuple[str, str]
"""Name of a file as below the dataset's folder, and what is wrong with it."""


def read_provenance(root: Path) -> tuple[dict[str, Any], bool]:
    """Read provenance.json below a folder: what it says, and whether it is as ``write_provenance`` wrote it.

    Raises:
        DatasetError: it is missing, or not of that form.
    """
    try:
        data = plain_file(root, PROVENANCE).read_bytes()
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise DatasetError("is of another form than this version of the workflow reads")
        h5 = [entry for name, entry in content["origins"].items() if H5_NAME.fullmatch(name)]
        entries = [(entry["bytes"], entry["sha256"]) for entry in (*content["files"].values(), *h5)]
        if not all(isinstance(size, int) and isinstance(sha256, str) for size, sha256 in entries):
            raise ValueError("a size is no number, or a sha256 no text")
        named_fingerprints(content)
        time, sha256 = content["written"]["time"], content["written"]["sha256"]
        sound = provenance_bytes(content) == data and content_digest(content, time) == sha256
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError("cannot be read: it is damaged, or was not written by this workflow") from error
    return content, sound


def check_copy(root: Path, threads: int, digest: Callable[[Path], str] = sha256_file) -> tuple[int, list[Difference]]:
    """Compare every file below a folder with its ``provenance.json``, and the H5 files where they are beside it.

    Args:
        root: The folder ``data/ACDC``, or a copy of it.
        threads: Number of files that are read at a time.
        digest: Function that returns the sha256 of a file.

    Returns:
        Number of files that were compared, and every difference, sorted by name.
    """
    try:
        content, sound = read_provenance(root)
    except DatasetError as error:
        return 0, [(PROVENANCE, str(error))]
    files: dict[str, dict[str, Any]] = content["files"]
    volumes = h5_beside(root, content["origins"])
    listed = files | volumes
    owners = {entry["sha256"]: name for name, entry in listed.items()}
    differences = [] if sound else [(PROVENANCE, "contradicts itself: it was changed after it was written")]
    differences += [(name, "does not belong here") for name in found_files(root) - {*files, PROVENANCE}]

    def check(name: str) -> str | None:
        return check_file(root if name in files else root / OUTPUT, name, listed, owners, digest)

    progress = Progress(len(listed), "file")
    with ThreadPoolExecutor(threads) as pool:
        for name, reason in zip(listed, pool.map(check, listed), strict=True):
            progress.advance()
            differences += [(name, reason)] if reason else []
    progress.close()

    if MANIFEST not in files:
        differences.append((PROVENANCE, f"does not list {MANIFEST}"))
    elif not any(name == MANIFEST for name, _ in differences):
        differences += check_manifest(root / MANIFEST, content)
    return len(listed), sorted(differences)


def h5_beside(root: Path, origins: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The entries of H5 files whose folder lies where the workflow publishes it; a copy of ``root`` has none there."""
    return {
        name: entry
        for name, entry in origins.items()
        if H5_NAME.fullmatch(name) and (root / OUTPUT / name).parent.is_dir()
    }


def found_files(root: Path) -> set[str]:
    """Name everything below a folder that is no folder; a symbolic link to a folder is not entered."""
    found = set()
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found |= {os.path.relpath(os.path.join(folder, name), root) for name in (*names, *links)}  # noqa: PTH118 speed
    return found


def regular_file(root: Path, name: str) -> Path:
    """Path of a file below a folder, links followed.

    Raises:
        DatasetError: There is no such file, or it is a pipe or the like.
    """
    try:
        path = (root / name).resolve(strict=True)
        regular = stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError("is missing") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        raise DatasetError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not regular:
        raise DatasetError("is not a file")
    return path


def plain_file(root: Path, name: str) -> Path:
    """Path of a file below a folder that no link leads out of; see :func:`regular_file` and :func:`leads_out`.

    Raises:
        DatasetError: There is no such file, it is a pipe or the like, or a link leads out of the dataset.
    """
    path = regular_file(root, name)
    if leads_out(root, path):
        raise DatasetError("is, or lies behind, a symbolic link that leads out of the dataset")
    return path


def leads_out(root: Path, path: Path) -> bool:
    """Whether a path, its links followed, lies outside of a dataset and of the ``work/`` that it may be linked to."""
    return not any(path.is_relative_to(folder.resolve()) for folder in (root, root / OUTPUT / "work", root / "work"))


def check_file(
    root: Path,
    name: str,
    files: Mapping[str, Mapping[str, Any]],
    owners: Mapping[str, str],
    digest: Callable[[Path], str] = sha256_file,
) -> str | None:
    """Say what is wrong with a listed file.

    Args:
        root: Folder that the name is below.
        name: The file.
        files: Name -> what provenance.json says of each file.
        owners: Sha256 -> file that should have it.
        digest: Function that returns the sha256 of a file.

    Returns:
        What is wrong, or None.
    """
    if not SAFE_NAME.fullmatch(name):
        return f"is no path below the dataset's folder; {PROVENANCE} is not to be trusted"
    try:
        path = plain_file(root, name)
        size, expected = path.stat().st_size, files[name]["bytes"]
        if size != expected:
            return f"has {size} bytes instead of {expected}"
        sha256 = digest(path)
    except DatasetError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if sha256 == files[name]["sha256"]:
        return None
    return f"has the content of {owners[sha256]}" if sha256 in owners else f"has other content than {PROVENANCE} says"


def check_manifest(manifest: Path, content: Mapping[str, Any]) -> list[Difference]:
    """Compare what provenance.json says of images, embeddings and their encoder with the manifest."""
    files = content["files"]
    encoders = named_fingerprints(content)
    found = list[Difference]()
    try:
        for row in read_table(manifest):
            said = {f"{row['split']}/{kind}s/{row['slice']}.png": row[f"{kind}_sha256"] for kind in ("image", "mask")}
            if row["embedding"]:
                said[row["embedding"]] = row["embedding_sha256"]
                if row["encoder"] != encoders.get(files.get(row["embedding"], {}).get("by")):
                    found.append((row["embedding"], f"{MANIFEST} names another encoder than {PROVENANCE}"))
            wrong = [name for name, sha256 in said.items() if files.get(name, {}).get("sha256") != sha256]
            found += [(name, f"{MANIFEST} and {PROVENANCE} contradict each other") for name in wrong]
    except (KeyError, DatasetError):
        found.append((MANIFEST, "is no manifest of this workflow"))
    return found


def named_fingerprints(content: Mapping[str, Any]) -> dict[str, str]:
    """Fingerprint of each maker of embeddings that provenance.json names, if its encoder and weights are known."""
    weights = [entry["sha256"] for name, entry in content["origins"].items() if name.startswith("weights/")]
    return {
        name: fingerprint(maker["encoder"], maker["weights"], maker["precision"], maker["device"])
        for name, maker in content["makers"].items()
        if maker["encoder"] in ENCODERS and maker["weights"] in weights
    }
