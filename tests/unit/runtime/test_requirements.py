import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from acdc_medsam.errors import AcdcError, CheckpointError, CohortError, ConfigError
from acdc_medsam.runtime import requirements
from acdc_medsam.runtime.requirements import (
    require_checkpoint,
    require_past_times,
    require_patient,
    require_patients,
    require_usable_weights,
)

RAW = Path("raw")
PROBLEM = "patient001: Info.cfg is missing"


def test_invalid_patients_stop_a_run_unless_excluded() -> None:
    require_patients(RAW, ["patient002"], [], "stop")
    require_patients(RAW, ["patient002"], [PROBLEM], "exclude")
    with pytest.raises(CohortError, match=f"(?s)Mend these patients, .* in config.yaml:\n{PROBLEM}"):
        require_patients(RAW, ["patient002"], [PROBLEM], "stop")


def test_a_cohort_needs_a_patient() -> None:
    with pytest.raises(CohortError, match=f"no patient in raw can be used:\n{PROBLEM}"):
        require_patients(RAW, [], [PROBLEM], "exclude")


def test_a_patient_that_is_asked_for_must_be_part_of_the_dataset() -> None:
    require_patient("patient001", {"patient001"}, RAW)
    with pytest.raises(CohortError, match="patient003 is not in raw, or is left out"):
        require_patient("patient003", {"patient001"}, RAW)


def test_raw_files_from_the_future_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file in files:
        file.touch()
    require_past_times([*files, tmp_path / "missing"])
    tomorrow = time.time() + 86400
    for file in files[1:]:
        os.utime(file, (tomorrow, tomorrow))
    with pytest.raises(CohortError, match=f"{files[1]} and 1 other raw files were changed in the future"):
        require_past_times(files)


def test_no_checkpoint_and_no_address_to_get_it_from(tmp_path: Path) -> None:
    missing = tmp_path / "weights.pth"
    require_checkpoint("lite_medsam", missing, "https://example.org/weights", "there")
    with pytest.raises(
        CheckpointError, match=f"no checkpoint for lite_medsam: looked for {missing}. Get it from there"
    ):
        require_checkpoint("lite_medsam", missing, "", "there")
    missing.touch()
    require_checkpoint("lite_medsam", missing, "", "there")


def test_a_dataset_without_embeddings_has_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training needs embeddings: set encoder\.name in config.yaml"):
        require_checkpoint("none", tmp_path / "weights.pth", "", "")


def test_weights_are_loaded_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "weights.pth"
    commands = list[list[str]]()
    answers = {"0" * 64: (0, "fine\n"), "1" * 64: (1, "is not the file\n"), "": (1, "")}

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        code, text = answers[command[-1] if "--sha256" in command else ""]
        return subprocess.CompletedProcess(command, code, text)

    monkeypatch.setattr(requirements.subprocess, "run", run)
    require_usable_weights("lite_medsam", checkpoint, "1" * 64)
    assert commands == [], "a file that is to be downloaded"
    checkpoint.touch()
    require_usable_weights("lite_medsam", checkpoint, "0" * 64)
    assert commands[0][:5] == [sys.executable, "-m", "acdc_medsam", "weights", "lite_medsam"]
    require_usable_weights("lite_medsam", checkpoint, "")  # that process itself failed: the first job will say why
    with pytest.raises(CheckpointError, match=r"^is not the file$"):
        require_usable_weights("lite_medsam", checkpoint, "1" * 64)


def test_every_refusal_is_an_error_that_users_can_mend() -> None:
    assert all(issubclass(kind, AcdcError) for kind in (CohortError, ConfigError, CheckpointError))
