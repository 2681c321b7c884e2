from pathlib import Path

import pytest

from acdc_medsam.formats.files import write_bytes
from acdc_medsam.formats.index import index_row, read_index_comments, read_records, write_index
from acdc_medsam.formats.index_check import Findings, check_indexes


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "c" / "index.tsv"
    files = [write_bytes(tmp_path / name, name.encode()) for name in ("a/one", "b/two")]
    write_index(path, [index_row(file, path) for file in files])
    return path


def test_an_index_holds_sources_and_makers_of_its_files(index: Path) -> None:
    rows = [index_row(written, index) for written, _ in read_records(index)]
    sources = {"training/patient001/Info.cfg": "0" * 64, "my weights.pth": "1" * 64}
    makers = {"abc": {"encoder": "x", "versions": {"torch": "2"}}}
    write_index(index, rows, sources=sources, makers=makers)
    comments = read_index_comments(index)
    assert (comments.sources, comments.makers) == (sources, makers)
    assert [index_row(written, index) for written, _ in read_records(index)] == rows
    assert check_indexes([index], root=Path("/")) == Findings()


def test_equal_files_give_equal_indexes_at_any_time(index: Path, tmp_path: Path) -> None:
    content = index.read_bytes()
    again = [write_bytes(tmp_path / name, name.encode()) for name in ("a/one", "b/two")]
    write_index(index, [index_row(file, index) for file in again])
    assert index.read_bytes() == content


def test_an_index_holds_the_reason_why_a_patient_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "index.tsv"
    write_index(path, [], left_out=["patient001: no\nrange"], notes=["a remark"])
    comments = read_index_comments(path)
    assert comments.left_out == ("patient001: no range",)
    assert comments.notes == ("a remark",)
    assert check_indexes([path], root=Path("/")) == Findings(left_out=[path])
