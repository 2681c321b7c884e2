"""Errors are reported before the first job or by the job that finds them, in words and without a traceback."""

import shutil
import subprocess
from pathlib import Path

import pytest

from workflow_run import Workflow


def refused(workflow: Workflow, *arguments: str) -> str:
    """Run a workflow that must fail without a traceback, and return its output."""
    run = workflow.run(*arguments, expect=1)
    assert "Traceback" not in run.output
    return run.output


def test_unknown_and_impossible_keys_are_named(workflow: Workflow) -> None:
    workflow.configure(encoder={"name": "none", "precision": "fp8"}, splitt={"seed": 1})
    output = refused(workflow)
    assert "encoder.precision: 'fp8' given; expected one of float32, tf32, bfloat16, float16" in output
    assert "splitt: unknown key; did you mean 'split'?" in output


def test_training_without_embeddings_is_refused(workflow: Workflow) -> None:
    assert "training needs embeddings: set encoder.name in config.yaml" in refused(workflow, "train")


@pytest.mark.parametrize("layout", ["automedsam", "zarr"])
def test_an_export_of_embeddings_without_any_is_refused(workflow: Workflow, layout: str) -> None:
    assert f"the export {layout} needs embeddings: set encoder.name in config.yaml" in refused(workflow, layout)


def test_keys_that_the_scheme_does_not_take_are_refused(workflow: Workflow) -> None:
    workflow.configure(**workflow.configuration(), split={"scheme": "nnunet", "validation": 0.3})
    output = refused(workflow)
    assert "split.fold: null given; expected 0 to 4, because split.scheme is nnunet" in output
    assert "split.validation: 0.3 given; expected 0.2, its default" in output


def test_patients_that_the_scheme_does_not_know_are_named_before_any_job(workflow: Workflow) -> None:
    workflow.configure(**workflow.configuration(), split={"scheme": "nnunet", "fold": 0})
    patient = workflow.raw / "training/patient101"
    shutil.copytree(workflow.raw / "training/patient002", patient)
    for path in patient.glob("patient002*"):
        path.rename(path.with_name(path.name.replace("patient002", "patient101")))

    output = refused(workflow)
    assert "split.scheme nnunet does not know patient101: it divides ACDC's training patients 1 to 100." in output
    assert "List these patients under 'exclude' in config.yaml" in output
    assert "normalize patient" not in output
    assert len(workflow.run("images").of("render")) == 3, "what does not depend on the split is made"

    workflow.configure(**{**workflow.configuration(), "exclude": ["patient101"]})
    assert workflow.run("dataset").of("split")


def test_a_table_of_splits_that_cannot_be_used_is_refused_before_any_job(workflow: Workflow) -> None:
    table = workflow.folder / "splits.tsv"
    workflow.configure(**workflow.configuration(), split={"scheme": "file", "file": "splits.tsv"})
    assert "split.file: there is no file splits.tsv" in refused(workflow)
    for content, message in (
        ("patient001\ttrain", "says nothing of patient002"),
        ("patient001\ttrain\npatient002\tvall", "splits.tsv, line 3: patient002 is in 'vall'"),
        ("patient001\ttrain\npatient002\tval\npatient020\tval", "not in the raw folder: patient020 (line 4)"),
    ):
        table.write_text(f"patient\tsplit\n{content}\n")
        output = refused(workflow)
        assert message in output and "normalize patient" not in output


def test_missing_raw_data_is_explained(workflow: Workflow) -> None:
    shutil.rmtree(workflow.raw)
    output = refused(workflow)
    assert "looked in raw for the folders training and testing" in output
    assert "'make demo' runs the whole workflow without it" in output


def test_everything_wrong_with_the_cohort_is_reported_at_once(workflow: Workflow) -> None:
    (workflow.raw / "training/patient001/Info.cfg").unlink()
    (workflow.raw / "training/patient002/patient002_frame01_gt.nii.gz").unlink()
    output = refused(workflow)
    assert "patient001: Info.cfg is missing" in output
    assert "patient002: patient002_frame01_gt.nii.gz is missing" in output
    assert "Job stats" not in output


def test_a_missing_checkpoint_is_reported_before_any_job(workflow: Workflow) -> None:
    workflow.configure()
    output = refused(workflow)
    assert "no checkpoint for medsam_vit_b: looked for checkpoints/medsam_vit_b.pth" in output
    assert "zenodo.org/records/10689643" in output
    assert "The targets 'images' and 'slices' need no checkpoint" in output
    assert "normalize patient" not in output
    assert len(workflow.run("images").of("render")) == 2


def test_a_dataset_without_embeddings_is_complete(workflow: Workflow) -> None:
    workflow.run()
    assert not list(workflow.data.rglob("*.pt"))
    assert len(list(workflow.data.glob("train/images/*.png"))) == len(list(workflow.data.glob("train/masks/*.png"))) > 0
    assert (workflow.folder / "work/accepted.tsv").exists()


def test_a_failed_check_fails_the_run_and_keeps_the_reports(workflow: Workflow) -> None:
    workflow.run("dataset")
    stray = workflow.data / "train/images/notes.txt"
    stray.touch()
    output = refused(workflow)
    assert "directories as specified and nothing else in them: 1 of" in output
    assert "train/images/notes.txt: does not belong here" in output
    assert '"passed": false' in (workflow.data / "quality.json").read_text()
    assert "does not belong here" in (workflow.data / "report.html").read_text()
    refused(workflow)

    stray.unlink()
    run = workflow.run()
    assert {job.split()[0] for job in run.jobs} == {"verify", "accept", "write"}
    assert workflow.run().jobs == []


@pytest.mark.parametrize(
    ("target", "made", "not_made"),
    [
        ("slices", "work/h5/patient001/slices", "work/png"),
        ("volumes", "work/h5/patient001/volumes", "work/png"),
        ("images", "work/png/patient001/images", "work/split.tsv"),
        ("dataset", "data/ACDC/manifest.tsv", "data/ACDC/quality.json"),
        ("verify", "data/ACDC/quality.json", "data/ACDC/report.html"),
    ],
)
def test_each_target_goes_as_far_as_its_name(workflow: Workflow, target: str, made: str, not_made: str) -> None:
    workflow.run(target)
    assert (workflow.folder / made).exists()
    assert not (workflow.folder / not_made).exists()


def test_a_checkpoint_is_downloaded_and_checked(workflow: Workflow, checkpoint: Path) -> None:
    served = subprocess.Popen(
        ["python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=checkpoint.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert served.stdout is not None
        port = served.stdout.readline().split("port ")[1].split()[0]
        url = f"http://127.0.0.1:{port}/{checkpoint.name}"
        encoder = {"name": "lite_medsam", "checkpoint": "weights/lite.pth", "url": url}

        workflow.configure(encoder={**encoder, "sha256": "0" * 64})
        assert "its sha256 is" in refused(workflow, "weights/lite.pth")
        assert not list((workflow.folder / "weights").glob("*.pth"))

        workflow.configure(encoder=encoder)
        workflow.run("weights/lite.pth")
        assert (workflow.folder / "weights/lite.pth").read_bytes() == checkpoint.read_bytes()

        (workflow.folder / "weights/lite.pth").unlink()
        positional = "work/embeddings/lite_medsam/pe.pt"
        assert len(workflow.run(positional).jobs) == 2
        assert workflow.run(positional).jobs == [], "the job used the file that was downloaded"
    finally:
        served.kill()
        served.wait()
