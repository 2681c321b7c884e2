from pathlib import Path

import pytest

from acdc_medsam.errors import VolumeError
from acdc_medsam.runtime.jobs import job_log


def test_an_error_that_users_can_mend_is_a_message_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, job_log(str(tmp_path / "log")):
        raise VolumeError("patient001: what is wrong")
    assert stop.value.code == 1
    assert capsys.readouterr().err == "patient001: what is wrong\n"
    assert "patient001: what is wrong" in (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_full_disk_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), job_log(str(tmp_path / "log")):
        raise OSError(28, "No space left on device", "work/file")
    assert capsys.readouterr().err.startswith("work/file: No space left on device; make space on its disk")


def test_a_defect_of_the_workflow_logs_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), job_log(str(tmp_path / "log")):
        raise KeyError("x")
    assert "Traceback" in (tmp_path / "log").read_text()
