import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from acdc_medsam.cli import main
from acdc_medsam.formats.files import read_table
from acdc_medsam.verify.copy import SAFE_NAME
from copy_defects import DEFECTS, Plant, other_embedding
from small_dataset import provenance_of


@pytest.fixture
def copy(described_once: Path, tmp_path: Path) -> Path:
    """The folder ``data/ACDC`` alone, as on another machine. Its files are hard links, so they must not be changed."""
    shutil.copytree(described_once / "data/ACDC", tmp_path / "copy", copy_function=os.link)
    return tmp_path / "copy"


def test_a_sound_copy_passes(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy)]) == 0
    files = len(provenance_of(copy)["files"])
    assert capsys.readouterr().out == f"{copy}: all {files} files match provenance.json\n"


@pytest.mark.parametrize(("plant", "expected"), [pytest.param(*defect, id=defect[0].__name__) for defect in DEFECTS])
def test_a_planted_defect_is_named(copy: Path, capsys: pytest.CaptureFixture[str], plant: Plant, expected: str) -> None:
    name = read_table(copy / "manifest.tsv")[0]["embedding"]
    facts = {"name": name, "other": other_embedding(copy, name), "bytes": (copy / name).stat().st_size}
    plant(copy, name)

    assert main(["verify", str(copy), "--threads", "2"]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(expected.format(**facts))], lines
    assert last == f"{copy} does not match provenance.json; differences: {len(lines)}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verfy", "."], "No such command 'verfy'"),
        (["verify"], "data/ACDC is not a folder; give the folder that holds provenance.json"),
        (["verify", "not there"], "not there is not a folder; give the folder that holds provenance.json"),
        (["verify", "."], ". holds no provenance.json; give the folder that does"),
        (["verify", ".", "--threads", "0"], "Invalid value for '--threads'"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a", "a/b.png", "a..b/c", ".hidden", "val/images/x.y.png"])
def test_plain_names_are_safe(name: str) -> None:
    assert SAFE_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", "/a", "a//b", "a/", "..", "a/..", "../a", "a/../b", "./a", "a\\b", "a\n", "a\0b", "é"]
)
def test_other_names_are_unsafe(name: str) -> None:
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
