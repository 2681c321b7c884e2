"""Scans between the jobs of the workflow: what is prepared is what the command line segments."""

from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.errors import DatasetError, VolumeError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.formats.index import write_index
from acdc_medsam.predict.accept import accept_predictions
from acdc_medsam.predict.find_scans import ScanFile
from acdc_medsam.predict.prepare import prepare_scan
from acdc_medsam.predict.prepared import prepare_files, read_jobs
from scans import write_scan


def prepare(path: Path) -> Path:
    """Prepare a scan, and return its index."""
    index = path.parents[1] / "work" / path.name / "index.tsv"
    file = ScanFile(path, "name", "subject")
    prepare_files(file, index, 99, {source.name: sha256_file(source) for source in file.sources})
    return index


@pytest.mark.parametrize("shape", [(9, 8, 3), (9, 8, 3, 2)])
def test_what_is_prepared_is_what_was_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_scan(tmp_path / "raw/patient001_4d.nii.gz", shape)
    path.with_name("Info.cfg").write_text("ED: 1\n")
    [job], failed = read_jobs([prepare(path)])
    assert failed == {} and job.slices == np.prod(shape[2:])
    assert (job.sha256, job.info_sha256) == (sha256_file(path), sha256_file(path.with_name("Info.cfg")))

    loaded, expected = job.load(), prepare_scan(ScanFile(path, "name", "subject"), 99)
    np.testing.assert_array_equal(loaded.scan.images, expected.scan.images)
    facts, same = (dict(vars(one.scan), images=None) for one in (loaded, expected))
    assert facts == same and loaded.sha256 == expected.sha256
    np.testing.assert_array_equal(loaded.header.get_best_affine(), expected.header.get_best_affine())


def test_a_scan_that_cannot_be_used_is_remembered_with_its_reason(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "raw/scan.nii", (9, 8, 3))
    index = prepare(path)
    path.write_bytes(b"nonsense")
    assert prepare(path) == index and not index.with_name("gray.nii.gz").exists()
    assert read_jobs([index]) == (
        [],
        {str(path): "scan.nii: not a readable NIfTI file; restore it from the original dataset"},
    )


def test_a_change_during_the_run_is_refused(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "raw/scan.nii", (9, 8, 3))
    with pytest.raises(DatasetError, match="changed while the run was at work"):
        prepare_files(ScanFile(path, "name", "subject"), tmp_path / "index.tsv", 99, {path.name: "0" * 64})
    index = prepare(path)
    [job], _ = read_jobs([index])
    write_scan(index.with_name("gray.nii.gz"), (9, 8, 3))
    with pytest.raises(DatasetError, match="changed while the run was at work"):
        job.load()


def test_scans_that_failed_end_the_run_unless_they_are_to_be_left_out(tmp_path: Path) -> None:
    report, accepted = tmp_path / "report.tsv", tmp_path / "accepted.tsv"
    write_index(report, [], notes=["a.nii: broken", "b.nii: empty"])
    with pytest.raises(VolumeError, match=r"(?s)could not be segmented.*a\.nii: broken\nb\.nii: empty"):
        accept_predictions(report, accepted, "stop")
    assert not accepted.exists()
    accept_predictions(report, accepted, "exclude")
    assert accepted.exists()
