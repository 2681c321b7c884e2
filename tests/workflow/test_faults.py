"""A cohort with one patient for every fault, names that a shell would run, and checkpoints that cannot be used."""

import html
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from acdc_medsam.formats.files import read_table
from faults import COHORT_FAULTS, VOLUME_FAULTS, Fault, copy_patient, rewrite, voxels
from workflow_run import Workflow

AT_START = {f"patient{number}": fault for number, fault in enumerate(COHORT_FAULTS, 101)}
IN_JOBS = {f"patient{number}": fault for number, fault in enumerate(VOLUME_FAULTS, 201)}
VALID = ["patient001", "patient002", "patient003", "patient004"]
FAILING = list(IN_JOBS)[::8]
"""Patients whose jobs fail in the run with ``--keep-going``."""


@pytest.fixture(scope="module")
def broken(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """Valid patients, and one patient for each fault."""
    workflow = Workflow(tmp_path_factory.mktemp("broken") / "run")
    shutil.copytree(raw, workflow.raw)
    for name, fault in (AT_START | IN_JOBS).items():
        fault.damage(copy_patient(raw / "training/patient001", workflow.raw / "training" / name))
    return workflow


def assert_reported(text: str, faults: dict[str, Fault]) -> None:
    """Check that a line of the text names each patient with the message of its fault."""
    lines = text.splitlines()
    for name, fault in faults.items():
        assert any(name in line and fault.message in line for line in lines), (fault.name, text)


def test_all_faults_seen_at_the_start_are_reported_at_once(broken: Workflow) -> None:
    broken.configure(encoder={"name": "none"})
    run = broken.run(expect=1)
    assert "Traceback" not in run.output and "Job stats" not in run.output
    assert_reported(run.output, AT_START)


def test_other_patients_are_kept_when_jobs_fail(broken: Workflow) -> None:
    others = [name for name in AT_START | IN_JOBS if name not in FAILING]
    broken.configure(encoder={"name": "none"}, exclude=others)
    run = broken.run("images", "--keep-going", expect=1)
    assert "Traceback" not in run.output
    assert_reported(run.output, {name: IN_JOBS[name] for name in FAILING})
    assert [path.parent.name for path in sorted(broken.folder.glob("work/png/*/index.tsv"))] == VALID


def test_unusable_patients_are_left_out_with_their_reasons(broken: Workflow) -> None:
    broken.configure(encoder={"name": "none"}, on_invalid="exclude")
    run = broken.run()
    assert "Traceback" not in run.output
    assert len(run.of("normalize")) == len(IN_JOBS), "valid patients are not made again"

    quality = json.loads((broken.data / "quality.json").read_text())
    assert quality["passed"]
    report = html.unescape((broken.data / "report.html").read_text())
    for text in ("\n".join(quality["left_out"]), report):
        assert_reported(text, AT_START | IN_JOBS)
    assert len({line.split(":")[0] for line in quality["left_out"]}) == len(AT_START | IN_JOBS)
    assert sorted({row["patient"] for row in read_table(broken.data / "manifest.tsv")}) == VALID
    assert broken.run().jobs == [], "a second run has nothing to do"

    broken.configure(encoder={"name": "none"}, exclude=[name for name in AT_START | IN_JOBS if name != FAILING[0]])
    run = broken.run(expect=1)
    # A patient that was left out does not count as made once it must not be left out.
    assert_reported(run.output, {FAILING[0]: IN_JOBS[FAILING[0]]})


def test_names_reach_no_shell(raw: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Run a single patient, which cannot be split, with names that a shell would run."""
    workflow = Workflow(tmp_path / "run")
    name = "a b;touch x'$(touch y)`touch z` ä"
    patient = copy_patient(raw / "training/patient001", workflow.folder / f"raw {name}" / "training/patient001").folder
    for label in patient.glob("*_gt.nii.gz"):  # one slice per frame keeps its structures, so that encoding is quick
        rewrite(label, voxels(label) * np.array([0, 1, 0], np.uint8))
    weights = workflow.folder / f"weights {name}" / f"li'te {name}.pth"
    weights.parent.mkdir()
    weights.symlink_to(checkpoint)
    encoder = {"name": "lite_medsam", "checkpoint": str(weights.relative_to(workflow.folder))}
    workflow.configure(raw=f"../run/raw {name}", output=f"out {name}/../out {name}", encoder=encoder)

    run = workflow.run()
    assert "nothing goes to val: there are fewer than two training patients to divide" in run.output
    out = workflow.folder / f"out {name}"
    rows = read_table(out / "data/ACDC/manifest.tsv")
    assert len(rows) == 2 and {row["split"] for row in rows} == {"train"}
    assert json.loads((out / "data/ACDC/quality.json").read_text())["passed"]
    made = {path.name for path in workflow.folder.iterdir()} - {".snakemake", "config.yaml"}
    assert made == {f"raw {name}", f"out {name}", f"weights {name}"}


class Harm:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        """Choose the folder."""
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_an_unusable_checkpoint_is_refused_before_any_job(workflow: Workflow) -> None:
    harm = workflow.folder / "harm"
    torch.save({"weight": Harm(harm)}, workflow.folder / "weights.pth")
    encoder = {"name": "lite_medsam", "checkpoint": "weights.pth"}
    workflow.configure(encoder=encoder)
    run = workflow.run(expect=1)
    assert "holds more than weights" in run.output and "was not loaded" in run.output
    assert not harm.exists() and "Traceback" not in run.output and run.jobs == []
    workflow.configure(encoder={**encoder, "sha256": "0" * 64})
    run = workflow.run(expect=1)
    assert "is not the file that is configured: its sha256 is" in run.output and run.jobs == []
    assert not (workflow.folder / "work/h5").exists()
