"""What a user of `acdc-medsam run` sees of a run; the whole log goes to its file."""

import re
from pathlib import Path

from workflow_run import Workflow

LOGGER = ("--logger", "acdc-medsam")


def test_a_run_shows_one_line_for_each_stage(workflow: Workflow) -> None:
    output = workflow.run(*LOGGER).output
    lines = re.findall(r"^(\w[\w ]*?) +(\d+) jobs? +[\d.]+ s$", output, re.MULTILINE)
    assert lines[:2] == [("normalize", "2"), ("render", "2")]
    assert len(dict(lines)) == len(lines) == 10
    assert "ACDC to MedSAM, from NIfTI files: 2 patients" in output
    assert re.search(r"^\d+ slices in data/ACDC; report: data/ACDC/report.html$", output, re.MULTILINE)
    assert "Select jobs" not in output and "Reason:" not in output

    log = re.search(r"^Complete log\(s\): (.*)$", output, re.MULTILINE)
    assert log is not None
    assert re.search(r"Job \d+: normalize patient001\nReason: ", Path(log[1]).read_text())
    assert "Nothing to be done" in workflow.run(*LOGGER).output


def test_the_message_of_a_job_and_its_log_are_shown(workflow: Workflow) -> None:
    image = next(workflow.raw.glob("training/patient001/*_gt.nii.gz"))
    image.write_bytes(image.read_bytes()[:200])
    output = workflow.run(*LOGGER, expect=1).output
    assert f"patient001: {image.name}: damaged gzip data" in output
    assert "Error in rule normalize:" in output and "log: work/logs/normalize/patient001.log" in output


def test_the_message_of_a_refusal_is_shown(workflow: Workflow) -> None:
    workflow.configure()
    output = workflow.run(*LOGGER, expect=1).output
    assert "no checkpoint for medsam_vit_b: looked for checkpoints/medsam_vit_b.pth" in output
    assert "`acdc-medsam weights medsam_vit_b`" in output and "Traceback" not in output


def test_a_dry_run_is_shown_as_by_snakemake(workflow: Workflow) -> None:
    output = workflow.run(*LOGGER, "--dry-run").output
    assert "Job stats:" in output and "normalize patient001" in output and "This was a dry-run" in output
