"""Defects to plant in a copy of the published dataset, each with the difference that must be reported."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.formats.provenance import content_digest, provenance_bytes
from small_dataset import provenance_of

Plant = Callable[[Path, str], None]
"""Function that plants a defect, given the folder of the copy and the name of an embedding in it."""

DEFECTS: list[tuple[Plant, str]] = []
"""Function that plants a defect, and how a line of the report must begin.

``{name}`` stands for the name of the embedding, ``{bytes}`` for its size, ``{other}`` for another embedding.
"""

OUTSIDE = "is not a path below the dataset's folder; do not trust this provenance.json"
LEADS_OUT = "is, or lies behind, a symbolic link that leads out of the dataset"
EDITED = "provenance.json: contradicts itself: it was changed after it was written"
DAMAGED = "provenance.json: cannot be read: it is damaged, or was not written by this workflow"


def reported_as(*lines: str) -> Callable[[Plant], Plant]:
    """Add the decorated function to DEFECTS, once for each line that the report must contain."""

    def register(plant: Plant) -> Plant:
        DEFECTS.extend((plant, line) for line in lines)
        return plant

    return register


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a file. The copy consists of hard links, so files must not be changed in place."""
    path.unlink()
    path.write_bytes(data)


def flip_bit(path: Path, position: int) -> None:
    """Flip one bit of the byte at a position."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    replace_bytes(path, bytes(data))


def truncate(path: Path, size: int) -> None:
    """Cut a file short."""
    replace_bytes(path, path.read_bytes()[:size])


def other_embedding(copy: Path, name: str) -> str:
    """Name of an embedding other than ``name``."""
    return next(row["embedding"] for row in read_table(copy / "manifest.tsv") if row["embedding"] != name)


def write_provenance(copy: Path, content: dict[str, Any]) -> None:
    """Replace provenance.json without updating the digest that it contains of itself."""
    replace_bytes(copy / "provenance.json", provenance_bytes(content))


def forge_provenance(copy: Path, content: dict[str, Any]) -> None:
    """Replace provenance.json and update the digest that it contains of itself."""
    content["written"]["sha256"] = content_digest(content, content["written"]["time"])
    write_provenance(copy, content)


def rename_entry(copy: Path, name: str, new: str) -> None:
    """Give an entry of provenance.json another name."""
    content = provenance_of(copy)
    content["files"][new] = content["files"].pop(name)
    forge_provenance(copy, content)


@reported_as("{name}: is missing")
def deleted_embedding(copy: Path, name: str) -> None:
    """An embedding was deleted."""
    (copy / name).unlink()


@reported_as("manifest.tsv: is missing")
def deleted_manifest(copy: Path, name: str) -> None:
    """The manifest was deleted."""
    (copy / "manifest.tsv").unlink()


@reported_as("report.html: is missing")
def deleted_report(copy: Path, name: str) -> None:
    """The report was deleted."""
    (copy / "report.html").unlink()


@reported_as("train/metadata.csv: is missing")
def deleted_metadata(copy: Path, name: str) -> None:
    """The table for the library `datasets` was deleted."""
    (copy / "train/metadata.csv").unlink()


@reported_as("val/metadata.csv: has other content than")
def flipped_bit_in_metadata(copy: Path, name: str) -> None:
    """One bit of the table for the library `datasets` is flipped."""
    flip_bit(copy / "val/metadata.csv", 150)


@reported_as("val/masks/metadata.csv: does not belong here")
def metadata_in_another_folder(copy: Path, name: str) -> None:
    """There is a table for the library `datasets` in a folder where none is read."""
    (copy / "val/masks/metadata.csv").touch()


@reported_as("{name}: is missing")
def deleted_folder(copy: Path, name: str) -> None:
    """A folder of embeddings was deleted."""
    shutil.rmtree((copy / name).parent)


@reported_as("{name}: has 1000 bytes instead of {bytes}")
def truncated_embedding(copy: Path, name: str) -> None:
    """An embedding is cut short."""
    truncate(copy / name, 1000)


@reported_as("{name}: has other content than provenance.json says")
def flipped_bit(copy: Path, name: str) -> None:
    """One bit in the middle of an embedding is flipped."""
    flip_bit(copy / name, 2_000_000)


@reported_as("README.md: has other content than")
def flipped_bit_in_the_card(copy: Path, name: str) -> None:
    """One bit of the dataset card is flipped."""
    flip_bit(copy / "README.md", 9)


@reported_as("{name}: has the content of {other}", "{other}: has the content of {name}")
def swapped_embeddings(copy: Path, name: str) -> None:
    """Two slices have each other's embedding."""
    first = copy / name
    second = copy / other_embedding(copy, name)
    spare = copy / "spare"
    first.rename(spare)
    second.rename(first)
    spare.rename(second)


@reported_as("train/.DS_Store: does not belong here")
def stray_file(copy: Path, name: str) -> None:
    """There is a file that does not belong to the dataset."""
    (copy / "train/.DS_Store").touch()


@reported_as("val/link: does not belong here")
def stray_link(copy: Path, name: str) -> None:
    """There is a symbolic link to a folder, which must not be entered."""
    (copy / "val/link").symlink_to("/etc")


@reported_as(r"'a\x1b[2J': does not belong here")
def control_character_in_a_name(copy: Path, name: str) -> None:
    """There is a file whose name would clear a terminal."""
    (copy / "a\x1b[2J").touch()


@reported_as(f"{{name}}: {LEADS_OUT}")
def link_out_of_the_copy(copy: Path, name: str) -> None:
    """An embedding is a symbolic link to a file outside of the copy."""
    outside = copy.parent / "outside.pt"
    (copy / name).rename(outside)
    (copy / name).symlink_to(outside)


@reported_as(f"{{name}}: {LEADS_OUT}")
def folder_link_out_of_the_copy(copy: Path, name: str) -> None:
    """The folder of an embedding is a symbolic link to a folder outside of the copy."""
    outside = copy.parent / "outside"
    (copy / name).parent.rename(outside)
    (copy / name).parent.symlink_to(outside)


@reported_as("{name}: is not a file")
def pipe(copy: Path, name: str) -> None:
    """A named pipe, which nobody writes to, has the name of an embedding."""
    (copy / name).unlink()
    os.mkfifo(copy / name)


@reported_as(EDITED, "{name}: has other content than")
def edited_digest(copy: Path, name: str) -> None:
    """The sha256 of an embedding was edited in provenance.json."""
    content = provenance_of(copy)
    content["files"][name]["sha256"] = "0" * 64
    write_provenance(copy, content)


@reported_as("{name}: has other content than")
def forged_digest(copy: Path, name: str) -> None:
    """The sha256 of an embedding was edited in provenance.json, and the file's own digest was updated."""
    content = provenance_of(copy)
    content["files"][name]["sha256"] = "0" * 64
    forge_provenance(copy, content)


@reported_as("{name}: does not belong here")
def removed_entry(copy: Path, name: str) -> None:
    """provenance.json does not list an embedding."""
    content = provenance_of(copy)
    del content["files"][name]
    forge_provenance(copy, content)


@reported_as(EDITED)
def removed_origin(copy: Path, name: str) -> None:
    """One of the origins was removed from provenance.json."""
    content = provenance_of(copy)
    content["origins"].popitem()
    write_provenance(copy, content)


@reported_as(EDITED)
def edited_time(copy: Path, name: str) -> None:
    """The time in provenance.json was edited."""
    content = provenance_of(copy)
    content["written"]["time"] = "2001"
    write_provenance(copy, content)


@reported_as(EDITED)
def reformatted_provenance(copy: Path, name: str) -> None:
    """provenance.json has the same content with other white space."""
    replace_bytes(copy / "provenance.json", json.dumps(provenance_of(copy)).encode())


@reported_as("{name}: manifest.tsv and provenance.json contradict each")
def forged_embedding(copy: Path, name: str) -> None:
    """An embedding was replaced, and provenance.json was forged to match. The manifest still has the old sha256."""
    replace_bytes(copy / name, b"forged")
    content = provenance_of(copy)
    content["files"][name].update({"bytes": 6, "sha256": sha256_file(copy / name), "from": []})
    forge_provenance(copy, content)


@reported_as("{name}: manifest.tsv names another encoder than provenance.json")
def forged_weights(copy: Path, name: str) -> None:
    """The sha256 of the weights was forged. The fingerprint in the manifest depends on it."""
    content = provenance_of(copy)
    content["origins"]["weights/weights.pth"]["sha256"] = "1" * 64
    forge_provenance(copy, content)


@reported_as("provenance.json: does not list manifest.tsv")
def unlisted_manifest(copy: Path, name: str) -> None:
    """provenance.json does not list the manifest."""
    content = provenance_of(copy)
    del content["files"]["manifest.tsv"]
    forge_provenance(copy, content)


@reported_as(f"/etc/hostname: {OUTSIDE}")
def absolute_path(copy: Path, name: str) -> None:
    """provenance.json lists a file of the system."""
    rename_entry(copy, name, "/etc/hostname")


@reported_as(f"train/../../x: {OUTSIDE}")
def path_out_of_the_copy(copy: Path, name: str) -> None:
    """provenance.json lists a file in a folder above the copy."""
    rename_entry(copy, name, "train/../../x")


@reported_as("provenance.json: is missing")
def deleted_provenance(copy: Path, name: str) -> None:
    """provenance.json was deleted."""
    (copy / "provenance.json").unlink()


@reported_as(DAMAGED)
def truncated_provenance(copy: Path, name: str) -> None:
    """provenance.json is cut short."""
    truncate(copy / "provenance.json", 999)


@reported_as(DAMAGED)
def deeply_nested_provenance(copy: Path, name: str) -> None:
    """provenance.json is nested so deeply that parsing it exceeds the recursion limit."""
    replace_bytes(copy / "provenance.json", b"[" * 99_999)


@reported_as(DAMAGED)
def provenance_without_sizes(copy: Path, name: str) -> None:
    """An entry of provenance.json has neither size nor sha256."""
    content = provenance_of(copy)
    content["files"][name].clear()
    write_provenance(copy, content)


@reported_as("provenance.json: has another format")
def another_format(copy: Path, name: str) -> None:
    """provenance.json has the format of another version."""
    content = provenance_of(copy)
    content["format"] = 1
    write_provenance(copy, content)
