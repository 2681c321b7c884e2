"""Compare a copy of the published dataset with its provenance.json, without Snakemake and without the raw data.

provenance.json may come from anywhere, so nothing in it is trusted: names that lead out of the folder are refused, and
only regular files are opened.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from acdc_medsam.acdc.naming import NAME, SUBSETS
from acdc_medsam.encoders.registry import ENCODERS, fingerprint
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, read_table, sha256_file
from acdc_medsam.formats.provenance import FORMAT, content_digest, provenance_bytes
from acdc_medsam.layout import MANIFEST, PROVENANCE
from acdc_medsam.runtime.progress import Progress

OUTPUT = Path("../..")
"""Path from the dataset's folder to the output folder, if the dataset still is where it was published."""

H5_NAME = re.compile(rf"{NAME}_({'|'.join(SUBSETS)})_(volumes|slices)/[\w.-]+\.h5", re.ASCII)
"""Name of an H5 file, relative to the output folder."""

SAFE_NAME = re.compile(r"(?!.*(^|/)\.\.?(/|$))[\w.-]+(/[\w.-]+)*", re.ASCII)
"""A relative path whose parts are plain names, none of them . or .."""

Difference = tuple[str, str]
"""Name of a file, relative to the dataset's folder, and what is wrong with it."""


def describe_difference(difference: Difference) -> str:
    """Return a difference as a line of text, in which control characters of the name are escaped."""
    name, reason = difference
    return f"{name if name.isprintable() else ascii(name)}: {reason}"


def read_provenance(root: Path) -> tuple[dict[str, Any], bool]:
    """Read the provenance.json in a folder.

    Returns:
        The content, and whether the file is exactly as ``write_provenance`` wrote it.

    Raises:
        DatasetError: The file is missing, is damaged, or has another format.
    """
    try:
        data = plain_file(root, PROVENANCE).read_bytes()
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise DatasetError("has another format than this version of the workflow reads")

        # Everything that is used later is looked up once here, so that a damaged file fails now and in one way.
        h5 = [entry for name, entry in content["origins"].items() if H5_NAME.fullmatch(name)]
        entries = [(entry["bytes"], entry["sha256"]) for entry in (*content["files"].values(), *h5)]
        if not all(isinstance(size, int) and isinstance(sha256, str) for size, sha256 in entries):
            raise ValueError("a size is not a number, or a sha256 is not a text")
        find_fingerprints(content)

        time = content["written"]["time"]
        digest = content["written"]["sha256"]
        unchanged = provenance_bytes(content) == data and content_digest(content, time) == digest
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError("cannot be read: it is damaged, or was not written by this workflow") from error
    return content, unchanged


def check_copy(root: Path, threads: int, digest: Callable[[Path], str] = sha256_file) -> tuple[int, list[Difference]]:
    """Compare every file below a folder with its ``provenance.json``, and the H5 files as well if they are beside it.

    Args:
        root: The folder ``data/ACDC``, or a copy of it.
        threads: Number of files that are read at a time.
        digest: Function that returns the sha256 of a file.

    Returns:
        The number of files that were compared, and every difference, sorted by name.
    """
    try:
        content, unchanged = read_provenance(root)
    except DatasetError as error:
        return 0, [(PROVENANCE, str(error))]

    files: dict[str, dict[str, Any]] = content["files"]
    listed = files | find_h5_beside(root, content["origins"])
    # A file that has the content of another one was swapped, which says more than that it differs.
    owners = {entry["sha256"]: name for name, entry in listed.items()}
    differences = list[Difference]()
    if not unchanged:
        differences.append((PROVENANCE, "contradicts itself: it was changed after it was written"))
    differences += [(name, "does not belong here") for name in list_files(root) - {*files, PROVENANCE}]

    def check(name: str) -> str | None:
        # H5 files are named relative to the output folder, all others relative to the dataset.
        return check_file(root if name in files else root / OUTPUT, name, listed, owners, digest)

    progress = Progress(len(listed), "file")
    with ThreadPoolExecutor(threads) as pool:
        for name, reason in zip(listed, pool.map(check, listed), strict=True):
            progress.advance()
            if reason is not None:
                differences.append((name, reason))
    progress.close()

    if MANIFEST not in files:
        differences.append((PROVENANCE, f"does not list {MANIFEST}"))
    # A manifest that differs has been reported already, and proves nothing about other files.
    elif not any(name == MANIFEST for name, _ in differences):
        differences += check_manifest(root / MANIFEST, content)
    return len(listed), sorted(differences)


def find_h5_beside(root: Path, origins: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Select the entries of H5 files whose folder lies where the workflow publishes it. A copy of ``root`` has none."""
    return {
        name: entry
        for name, entry in origins.items()
        if H5_NAME.fullmatch(name) and (root / OUTPUT / name).parent.is_dir()
    }


def list_files(root: Path) -> set[str]:
    """Name everything below a folder that is not a folder itself. Symbolic links to folders are not followed."""
    found = set()
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found |= {os.path.relpath(os.path.join(folder, name), root) for name in (*names, *links)}  # noqa: PTH118 speed
    return found


def regular_file(root: Path, name: str) -> Path:
    """Resolve the path of a file below a folder, following symbolic links.

    Raises:
        DatasetError: The file is missing, cannot be reached, or is not a regular file.
    """
    try:
        path = (root / name).resolve(strict=True)
        regular = stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError("is missing") from error
    except (OSError, RuntimeError) as error:  # before Python 3.13, RuntimeError says that links form a circle
        raise DatasetError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not regular:
        raise DatasetError("is not a file")
    return path


def plain_file(root: Path, name: str) -> Path:
    """Resolve the path of a file below a folder; see :func:`regular_file` and :func:`leads_out`.

    Raises:
        DatasetError: The file is missing, cannot be reached, is not a regular file, or lies outside of the dataset.
    """
    path = regular_file(root, name)
    if leads_out(root, path):
        raise DatasetError("is, or lies behind, a symbolic link that leads out of the dataset")
    return path


def leads_out(root: Path, path: Path) -> bool:
    """Tell whether a resolved path lies outside of a dataset and of the ``work/`` folder that it may be linked to."""
    return not any(path.is_relative_to(folder.resolve()) for folder in (root, root / OUTPUT / "work", root / "work"))


def check_file(
    root: Path,
    name: str,
    files: Mapping[str, Mapping[str, Any]],
    owners: Mapping[str, str],
    digest: Callable[[Path], str] = sha256_file,
) -> str | None:
    """Compare a file with its entry in provenance.json.

    Args:
        root: Folder that the name is relative to.
        name: Name of the file.
        files: Name -> entry of the file in provenance.json.
        owners: Sha256 -> name of the file that has it according to provenance.json.
        digest: Function that returns the sha256 of a file.

    Returns:
        What is wrong with the file, or None if it is sound.
    """
    if not SAFE_NAME.fullmatch(name):
        return f"is not a path below the dataset's folder; do not trust this {PROVENANCE}"

    try:
        path = plain_file(root, name)
        # The size is compared first, because a truncated file need not be read.
        size = path.stat().st_size
        expected = files[name]["bytes"]
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
    """Compare the entries of images, masks, embeddings and their encoder in provenance.json with the manifest.

    Args:
        manifest: The file ``manifest.tsv``.
        content: Content of provenance.json.

    Returns:
        Every contradiction between the two.
    """
    encoders = find_fingerprints(content)
    found = list[Difference]()
    try:
        for row in read_table(manifest):
            found += _check_row(row, content["files"], encoders)
    except (KeyError, DatasetError):
        found.append((MANIFEST, "is not a manifest of this workflow"))
    return found


def _check_row(row: Row, files: Mapping[str, Any], encoders: Mapping[str, str]) -> Iterator[Difference]:
    """Yield each contradiction between a row of the manifest and provenance.json.

    Args:
        row: The row of the manifest.
        files: Name -> entry of the file in provenance.json.
        encoders: Name of each maker of embeddings -> its fingerprint, see :func:`find_fingerprints`.
    """
    digests = {f"{row['split']}/{kind}s/{row['slice']}.png": row[f"{kind}_sha256"] for kind in ("image", "mask")}
    embedding = row["embedding"]
    if embedding:
        digests[embedding] = row["embedding_sha256"]
        maker = files.get(embedding, {}).get("by")
        if row["encoder"] != encoders.get(maker):
            yield embedding, f"{MANIFEST} names another encoder than {PROVENANCE}"

    for name, sha256 in digests.items():
        if files.get(name, {}).get("sha256") != sha256:
            yield name, f"{MANIFEST} and {PROVENANCE} contradict each other"


def find_fingerprints(content: Mapping[str, Any]) -> dict[str, str]:
    """Compute the fingerprint of each maker of embeddings in provenance.json whose encoder and weights are known.

    Args:
        content: Content of provenance.json.

    Returns:
        Name of the maker -> its fingerprint, as in the manifest.
    """
    # A maker that is unknown here is left out, so that the manifest contradicts its embeddings.
    weights = [entry["sha256"] for name, entry in content["origins"].items() if name.startswith("weights/")]
    return {
        name: fingerprint(maker["encoder"], maker["weights"], maker["precision"], maker["device"])
        for name, maker in content["makers"].items()
        if maker["encoder"] in ENCODERS and maker["weights"] in weights
    }
