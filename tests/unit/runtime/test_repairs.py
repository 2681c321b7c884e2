import logging
import os
from pathlib import Path

import pytest

from acdc_medsam.formats.files import write_bytes
from acdc_medsam.formats.index import index_row, read_times, write_index
from acdc_medsam.runtime.outside import OutsideFiles
from acdc_medsam.runtime.repairs import Repairs
from acdc_medsam.runtime.run_lock import RunLock

LOGGER = logging.getLogger("run")


class Output:
    """An output folder with an index of some files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.index = self.work / "index.tsv"
        self.files = [folder / f"data/{number}" for number in range(7)]
        written = [write_bytes(file, b"content") for file in self.files]
        write_index(self.index, [index_row(one, self.index) for one in written], left_out=["patient009: why"])
        self.lock = RunLock(folder)

    def repairs(self) -> Repairs:
        return Repairs(self.folder, OutsideFiles(self.work / "outside.json"), self.lock, LOGGER)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path)


def test_whole_files_need_no_repair(output: Output, caplog: pytest.LogCaptureFixture) -> None:
    assert output.repairs().plan([output.index], read_all=True, left_out=False) == []
    assert caplog.messages == []


def test_jobs_that_left_a_patient_out_run_again_if_they_must_not(output: Output) -> None:
    assert output.repairs().plan([output.index], read_all=False, left_out=True) == [output.index]


def test_damage_is_named_and_removed_when_the_run_starts(output: Output, caplog: pytest.LogCaptureFixture) -> None:
    for file in output.files[1:]:
        file.chmod(0o644)
        file.write_bytes(b"more content")
    repairs = output.repairs()
    assert repairs.plan([output.index], read_all=False, left_out=False) == [output.index]
    assert all(file.exists() for file in output.files), "a dry run changes nothing"
    first = f"{output.files[1]} has 12 bytes instead of 7: it is made again when it is asked for"
    assert caplog.messages[0] == first
    assert len(caplog.messages) == 6 and caplog.messages[5] == "and 1 more files"
    repairs.remove()
    assert [file for file in output.files if file.exists()] == output.files[:1]


def test_a_plan_looks_once_and_closer_if_it_is_asked_to(output: Output) -> None:
    repairs = output.repairs()
    assert repairs.is_due(read_all=False) and repairs.is_due(read_all=True)
    repairs.plan([output.index], read_all=False, left_out=False)
    assert not repairs.is_due(read_all=False) and repairs.is_due(read_all=True)
    repairs.plan([output.index], read_all=True, left_out=False)
    assert not repairs.is_due(read_all=False) and not repairs.is_due(read_all=True)


def test_nothing_is_planned_beside_a_run_that_changes_files(output: Output) -> None:
    output.lock.hold()
    assert not output.repairs().is_due(read_all=False)
    output.lock.end()
    assert output.repairs().is_due(read_all=False)


def test_files_that_were_read_are_known_in_the_next_run(output: Output) -> None:
    os.utime(output.files[0], (1e9, 1e9))
    repairs = output.repairs()
    assert repairs.plan([output.index], read_all=False, left_out=False) == []
    repairs.remember()
    assert read_times(output.index)["../data/0"] == [7, 10**18]


def test_what_cannot_be_written_down_stops_nothing(
    output: Output, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    repairs = output.repairs()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    repairs.remember()
    assert caplog.messages == [f"{output.work}: Read-only file system; choose an output folder that can be written to"]
