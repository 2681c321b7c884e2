"""The size of an export is said before anything is written, and compared with the free space."""

import logging
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from acdc_medsam.errors import AcdcError
from acdc_medsam.exports.registry import LAYOUTS
from exported import Exports


def announced(caplog: pytest.LogCaptureFixture) -> tuple[str, int, float]:
    """Name, number of files and GiB of the only announcement, which is shown on the screen too."""
    records = [record for record in caplog.records if hasattr(record, "on_screen")]
    assert len(records) == 1
    match = re.fullmatch(r"(\w+): (\d+) files, (\d+\.\d\d) GiB, in .*", records[0].getMessage())
    assert match is not None
    return match[1], int(match[2]), float(match[3])


def own_files(folder: Path) -> int:
    """Number of bytes of the files that are no links."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files if path.stat().st_nlink == 1)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("link", ["auto", "copy"])
def test_the_size_of_an_export_is_what_it_then_takes(
    exports: Exports, name: str, link: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("acdc_medsam.exports.size.GIB", 1)  # to the byte
    exports.add_cine("patient001")
    folder = exports.make(name, link)
    stem, files, size = announced(caplog)
    written = sum(path.is_file() for path in folder.rglob("*"))
    assert stem == name
    # Lists, descriptions, license and citation are small, and their size is not known before they are written.
    assert written - 10 <= files <= written
    assert own_files(folder) - 20_000 <= size <= 1.5 * own_files(folder) + 20_000


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_export_that_does_not_fit_is_refused_before_it_is_begun(
    exports: Exports, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0 if path.exists() else 1 / 0))
    with pytest.raises(AcdcError, match=rf"{name} needs .* GiB, and the disk has 0\.00 GiB free"):
        exports.make(name, "copy")
    assert not exports.folder(name).exists() and not exports.index(name).exists()


def test_files_that_are_replaced_need_no_further_space(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    exports.make("medsam")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    exports.make("medsam")
    with pytest.raises(AcdcError, match="medsam needs"):
        exports.make("medsam", dtype="float32")
