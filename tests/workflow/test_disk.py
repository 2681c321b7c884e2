"""Disks that are full, read-only or without hard links, and input that changes during a run."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from acdc_medsam.runtime.run_lock import TEMPORARY
from gate import Gate
from undisturbed import Started, contents, differences
from workflow_run import Workflow

DISK_BYTES = 400 * 2**20
"""Size of the small file system; the tiny dataset takes a third of it."""

BYTES_LEFT = 4096
"""Bytes left on the full file system, for the lock of the run."""

STAGES = {
    "report": ("data/ACDC/report.html", "data/ACDC/report.html"),
    "measure": ("work/measures/*.npz", "work/measures/"),
    "publish": ("data/ACDC/manifest.tsv", "data/ACDC/manifest.tsv"),
    "embed": ("work/embeddings/store/*/*.pt", "work/embeddings/store/"),
    "render": ("work/png/*/index.tsv", "work/png/patient00"),
    "normalize": ("work/h5/*/index.tsv", "work/h5/patient00"),
}
"""Stage -> pattern of files, the last of which is removed so that the stage has work, and the file that does not fit.

The last stage comes first, so that each is reached before the work that earlier tests left undone."""


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount the small file system that this test fills")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def filled(undisturbed: Workflow, small_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A complete run with its output on the small file system."""
    new = undisturbed.copy(tmp_path_factory.mktemp("filled") / "run")
    for folder in [new.folder / "data", new.folder / "work", *new.folder.glob("ACDC_*")]:
        subprocess.run(["cp", "--archive", folder, small_disk], check=True)
        shutil.rmtree(folder)
        folder.symlink_to(small_disk / folder.name)
    return new


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_named_and_leaves_nothing_half_written(filled: Workflow, small_disk: Path, stage: str) -> None:
    pattern, file = STAGES[stage]
    max(filled.folder.glob(pattern)).unlink()
    ballast = small_disk / "ballast"
    status = os.statvfs(small_disk)
    ballast.write_bytes(bytes(status.f_bavail * status.f_frsize - BYTES_LEFT))
    try:
        run = filled.run(expect=1)
    finally:
        ballast.unlink()
    assert file in run.output and "No space left on device; make space on its disk" in run.output
    assert "Traceback" not in run.output
    assert not [path for path in small_disk.rglob(".*") if TEMPORARY.fullmatch(path.name)]


def test_with_space_again_the_run_makes_the_same_bytes(filled: Workflow, undisturbed: Workflow) -> None:
    filled.run()
    assert differences(contents(filled), contents(undisturbed)) == []


def test_read_only_output_is_named(filled: Workflow, small_disk: Path) -> None:
    next(filled.data.glob("report.html")).unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    try:
        output = filled.run(expect=1).output
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert "Read-only file system; choose an output folder that can be written to" in output
    assert "Traceback" not in output


def test_files_are_copied_where_hard_links_are_impossible(workflow: Workflow, small_disk: Path) -> None:
    """There are no hard links from one file system to another."""
    other = small_disk / "other-work"
    other.mkdir()
    (workflow.folder / "work").symlink_to(other)
    workflow.run("dataset")
    published = sorted(workflow.data.glob("train/images/*.png"))
    assert published and all(path.stat().st_nlink == 1 for path in published)
    workflow.configure(encoder={"name": "none"}, publish={"link": "hard"})
    run = workflow.run("dataset", expect=1)
    assert "no hard link to " in run.output and "set 'publish: {link: copy}' in config.yaml" in run.output


def change_voxel(image: Path) -> None:
    """Give one voxel of an image another value."""
    before = nib.load(image)
    voxels = np.asanyarray(before.dataobj).copy()
    voxels[20, 20, 1] = voxels.min()
    nib.save(nib.Nifti1Image(voxels, before.affine, before.header), image)


@pytest.mark.timing
def test_input_that_changes_during_a_run_is_used_by_the_next(workflow: Workflow, gate: Gate) -> None:
    """Change the patient that is rendered first, after it was normalized and before it is rendered."""
    gate.hold("render")
    started = Started(workflow, "images", "--cores", "1", environment=gate.environment)
    assert started.wait_for(lambda _: bool(gate.held("render")))
    patient = re.findall(r": render (patient\d+)$", started.log.read_text(), re.MULTILINE)[-1]
    change_voxel(next(workflow.raw.glob(f"*/{patient}/{patient}_frame01.nii.gz")))
    gate.release("render")
    assert started.process.wait() == 0
    run = workflow.run("images")
    assert run.of("normalize", "render") == [f"normalize {patient}", f"render {patient}"]
    assert workflow.run("images").jobs == []


@pytest.mark.timing
def test_missing_input_is_named_and_finished_work_is_kept(workflow: Workflow, gate: Gate) -> None:
    """While one patient is normalized, remove an image of a patient that waits."""
    gate.hold("normalize")
    started = Started(workflow, "images", "--cores", "1", environment=gate.environment)
    assert started.wait_for(lambda _: bool(gate.held("normalize")))

    waiting = [n for n in (1, 2) if f": normalize patient{n:03d}" not in started.log.read_text()]
    patient = next(path for path in sorted(workflow.raw.glob(f"*/patient{waiting[-1]:03d}")))
    lost = patient / f"{patient.name}_frame01.nii.gz"
    kept = lost.read_bytes()
    lost.unlink()

    gate.release("normalize")
    assert started.process.wait() == 1
    output = started.log.read_text()
    assert lost.name in output and "Traceback" not in output

    done = len(list(workflow.folder.glob("work/h5/*/index.tsv")))
    assert done > 0
    assert f"{patient.name}: {lost.name} is missing" in workflow.run("images", expect=1).output
    lost.write_bytes(kept)
    assert len(workflow.run("images").of("normalize")) == 2 - done
