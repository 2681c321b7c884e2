import logging
import subprocess
import sys
from pathlib import Path

import pytest

from acdc_medsam.errors import AcdcError
from acdc_medsam.runtime.outside import OutsideFiles
from acdc_medsam.runtime.repairs import Repairs
from acdc_medsam.runtime.run_lock import RunLock
from acdc_medsam.runtime.start import claim_output, describe_result, describe_run

LOGGER = logging.getLogger("run")


def test_a_run_does_not_look_for_garbage_when_it_ends() -> None:
    code = (
        "import atexit, gc; from acdc_medsam.runtime import start;"
        # The function that is registered first is called last.
        "atexit.register(lambda: print(len(gc.get_objects()) < 1000));"
        "start.collect_garbage_rarely(); kept = [[] for _ in range(2000)]; print(len(gc.get_objects()) < 1000)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "True"]


def test_a_run_says_what_it_is_about_to_make() -> None:
    made = describe_run("NIfTI files", patients=150, slices=2978, batches=10, encoder="medsam_vit_b")
    assert made == (
        "ACDC to MedSAM, from NIfTI files: 150 patients, 300 volumes, 2978 slices; at most 319 jobs; "
        "up to 11.6 GiB of embeddings by medsam_vit_b"
    )
    assert describe_run("H5 files", 1, 20, 0, "none").endswith("20 slices; at most 11 jobs; no embeddings")


def test_a_run_says_where_the_dataset_is_once_it_is_complete(tmp_path: Path) -> None:
    manifest, report = tmp_path / "manifest.tsv", tmp_path / "report.html"
    manifest.write_text("slice\na\nb\n")
    assert describe_result(manifest, report) is None
    report.touch()
    assert describe_result(manifest, report) == f"2 slices in {tmp_path}; report: {report}"


def claim(output: Path) -> RunLock:
    lock = RunLock(output)
    repairs = Repairs(output, OutsideFiles(output / "work/outside.json"), lock, LOGGER)
    claim_output(lock, repairs, [output / "data"], LOGGER)
    return lock


def test_what_a_killed_run_left_is_tidied_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    half = tmp_path / "data/.ab12_xyz.index.tsv.tmp"
    half.parent.mkdir()
    half.touch()
    first = claim(tmp_path)
    assert half.exists(), "the run before did not fail"
    first._lock.release()  # as at the end of a process that was killed
    second = claim(tmp_path)
    assert not half.exists()
    assert caplog.messages == ["removed 1 files that an earlier run left half-written"]
    second.end()


def test_an_unusable_output_folder_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    with pytest.raises(AcdcError, match=f"{tmp_path}/work: File exists; correct that"):
        claim(tmp_path)
