import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acdc_medsam.__main__ import main
from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.formats.provenance import content_digest, provenance_bytes
from acdc_medsam.verify.copy import SAFE_NAME
from small_dataset import provenance_of

Defect = Callable[[Path, str], None]
"""Given the dataset's folder and the name of an embedding in it."""


@pytest.fixture
def copy(described_once: Path, tmp_path: Path) -> Path:
    """``data/ACDC`` alone, as on another machine; of hard links, so that files may be replaced but not changed."""
    shutil.copytree(described_once / "data/ACDC", tmp_path / "copy", copy_function=os.link)
    return tmp_path / "copy"


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def rewrite(copy: Path, change: Callable[[dict[str, Any]], object], forge: bool = False) -> None:
    """Change what provenance.json says; ``forge`` makes its own digest fit."""
    content = provenance_of(copy)
    change(content)
    if forge:
        content["written"]["sha256"] = content_digest(content, content["written"]["time"])
    replace(copy / "provenance.json", provenance_bytes(content))


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    replace(path, bytes(data))


def truncate(path: Path, size: int) -> None:
    replace(path, path.read_bytes()[:size])


def other_embedding(copy: Path, name: str) -> str:
    return next(row["embedding"] for row in read_table(copy / "manifest.tsv") if row["embedding"] != name)


def swap(copy: Path, name: str) -> None:
    first, second = copy / name, copy / other_embedding(copy, name)
    first.rename(copy / "spare")
    second.rename(first)
    (copy / "spare").rename(second)


def link_out(copy: Path, name: str) -> None:
    (copy / name).rename(copy.parent / "outside.pt")
    (copy / name).symlink_to(copy.parent / "outside.pt")


def folder_link_out(copy: Path, name: str) -> None:
    (copy / name).parent.rename(copy.parent / "outside")
    (copy / name).parent.symlink_to(copy.parent / "outside")


def make_pipe(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)


def rename_entry(copy: Path, name: str, new: str) -> None:
    rewrite(copy, lambda c: c["files"].__setitem__(new, c["files"].pop(name)), forge=True)


def set_sha256(copy: Path, name: str, forge: bool) -> None:
    rewrite(copy, lambda c: c["files"][name].__setitem__("sha256", "0" * 64), forge)


def forge_with_file(copy: Path, name: str) -> None:
    """Another file, and its sha256 in provenance.json, whose own digest is made to fit: the manifest knows better."""
    replace(copy / name, b"forged")
    entry = {"bytes": 6, "sha256": sha256_file(copy / name), "from": []}
    rewrite(copy, lambda c: c["files"][name].update(entry), forge=True)


def forge_weights(copy: Path, name: str) -> None:
    rewrite(copy, lambda c: c["origins"]["weights/weights.pth"].__setitem__("sha256", "1" * 64), forge=True)


OUTSIDE = "is no path below the dataset's folder; provenance.json is not to be trusted"
LEADS_OUT = "is, or lies behind, a symbolic link that leads out of the dataset"
EDITED = "provenance.json: contradicts itself: it was changed after it was written"
DAMAGED = "provenance.json: cannot be read: it is damaged, or was not written by this workflow"
DEFECTS: dict[str, tuple[Defect, str]] = {
    "deleted embedding": (lambda c, n: (c / n).unlink(), "{name}: is missing"),
    "deleted manifest": (lambda c, n: (c / "manifest.tsv").unlink(), "manifest.tsv: is missing"),
    "deleted report": (lambda c, n: (c / "report.html").unlink(), "report.html: is missing"),
    "deleted folder": (lambda c, n: shutil.rmtree((c / n).parent), "{name}: is missing"),
    "truncated embedding": (lambda c, n: truncate(c / n, 1000), "{name}: has 1000 bytes instead of {bytes}"),
    "one byte flipped": (lambda c, n: flip(c / n, 2_000_000), "{name}: has other content than provenance.json says"),
    "one byte of the card": (lambda c, n: flip(c / "README.md", 9), "README.md: has other content than"),
    "swapped embeddings": (swap, "{name}: has the content of {other}"),
    "swapped, the other": (swap, "{other}: has the content of {name}"),
    "stray file": (lambda c, n: (c / "train/.DS_Store").touch(), "train/.DS_Store: does not belong here"),
    "stray link": (lambda c, n: (c / "val/link").symlink_to("/etc"), "val/link: does not belong here"),
    "name with a control character": (lambda c, n: (c / "a\x1b[2J").touch(), r"'a\x1b[2J': does not belong here"),
    "link that leads out": (link_out, f"{{name}}: {LEADS_OUT}"),
    "folder that leads out": (folder_link_out, f"{{name}}: {LEADS_OUT}"),
    "pipe": (make_pipe, "{name}: is not a file"),
    "digest in provenance.json edited": (lambda c, n: set_sha256(c, n, forge=False), EDITED),
    "digest edited, the file": (lambda c, n: set_sha256(c, n, forge=False), "{name}: has other content than"),
    "digest edited and forged": (lambda c, n: set_sha256(c, n, forge=True), "{name}: has other content than"),
    "entry removed": (lambda c, n: rewrite(c, lambda d: d["files"].pop(n), forge=True), "{name}: does not belong here"),
    "origin edited": (lambda c, n: rewrite(c, lambda d: d["origins"].popitem()), EDITED),
    "time edited": (lambda c, n: rewrite(c, lambda d: d["written"].__setitem__("time", "2001")), EDITED),
    "blank added": (lambda c, n: replace(c / "provenance.json", json.dumps(provenance_of(c)).encode()), EDITED),
    "file and provenance.json forged": (forge_with_file, "{name}: manifest.tsv and provenance.json contradict each"),
    "weights forged": (forge_weights, "{name}: manifest.tsv names another encoder than provenance.json"),
    "manifest not listed": (
        lambda c, n: rewrite(c, lambda d: d["files"].pop("manifest.tsv"), forge=True),
        "provenance.json: does not list manifest.tsv",
    ),
    "absolute path": (lambda c, n: rename_entry(c, n, "/etc/hostname"), f"/etc/hostname: {OUTSIDE}"),
    "path that climbs": (lambda c, n: rename_entry(c, n, "train/../../x"), f"train/../../x: {OUTSIDE}"),
    "provenance.json deleted": (lambda c, n: (c / "provenance.json").unlink(), "provenance.json: is missing"),
    "provenance.json truncated": (lambda c, n: truncate(c / "provenance.json", 999), DAMAGED),
    "provenance.json is no object": (lambda c, n: replace(c / "provenance.json", b"[" * 99_999), DAMAGED),
    "provenance.json has no sizes": (lambda c, n: rewrite(c, lambda d: d["files"][n].clear()), DAMAGED),
    "another format": (lambda c, n: rewrite(c, lambda d: d.update(format=1)), "provenance.json: is of another form"),
}


def test_a_sound_copy_passes(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy)]) == 0
    files = len(provenance_of(copy)["files"])
    assert capsys.readouterr().out == f"{copy}: all {files} files match provenance.json\n"


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_planted_defect_is_named(copy: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    name = read_table(copy / "manifest.tsv")[0]["embedding"]
    facts = {"name": name, "other": other_embedding(copy, name), "bytes": (copy / name).stat().st_size}
    plant, expected = DEFECTS[kind]
    plant(copy, name)
    assert main(["verify", str(copy), "--threads", "2"]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(expected.format(**facts))], lines
    assert last == f"{copy} does not match provenance.json; differences: {len(lines)}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: command"),
        (["verify"], "the following arguments are required: dataset"),
        (["verify", "not there"], "not there is not a folder; give the folder that holds provenance.json"),
        (["verify", "."], ". holds no provenance.json; give the folder that does"),
        (["verify", ".", "--threads", "0"], "argument --threads"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as ended:  # argparse's own way
        status = int(str(ended.code))
    assert status == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a", "a/b.png", "a..b/c", ".hidden", "val/images/x.y.png"])
def test_plain_names_are_safe(name: str) -> None:
    assert SAFE_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", "/a", "a//b", "a/", "..", "a/..", "../a", "a/../b", "./a", "a\\b", "a\n", "a\0b", "é"]
)
def test_other_names_are_not(name: str) -> None:
    assert not SAFE_NAME.fullmatch(name)


def test_the_command_needs_neither_snakemake_nor_torch(copy: Path) -> None:
    absent = "import sys; sys.modules |= dict.fromkeys(('snakemake', 'torch', 'h5py', 'numpy'))"
    command = f"from acdc_medsam.__main__ import main; sys.exit(main(['verify', {str(copy)!r}]))"
    process = subprocess.run(
        [sys.executable, "-c", f"{absent}; {command}"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "workflow/scripts")},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
