"""The benchmark as a target: what is refused before any job, what it measures, and what makes its folds anew."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from acdc_medsam.formats.files import read_sealed, read_table
from indexes import is_whole
from undisturbed import Started
from workflow_run import Workflow

FOLDS = ("fold_0", "fold_1")


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"split": {"unit": "slice"}}, "evaluation measures whole patients"),
        (
            {"benchmark": {"folds": [5]}},
            "benchmark.folds: 5 given, and split.scheme stratified has the folds 0, 1, 2, 3, 4",
        ),
        ({"benchmark": {"held_out": "test"}}, "there are none; add ACDC's testing patients"),
        ({"split": {"validation": 0}}, "a benchmark needs patients to choose the epoch by"),
        ({}, "there are 2 training patients"),
    ],
)
def test_a_benchmark_that_cannot_be_run_is_refused_before_any_job(
    workflow: Workflow, checkpoint: Path, configuration: dict[str, Any], message: str
) -> None:
    workflow.configure(encoder={"name": "lite_medsam", "checkpoint": str(checkpoint)}, **configuration)
    run = workflow.run("benchmark", expect=1)
    assert message in run.output and "Traceback" not in run.output and run.jobs == []


def planned(workflow: Workflow) -> set[str]:
    """Rules that a run of the target would run jobs of, by the table of a dry run; none if there is nothing to do."""
    output = workflow.run("benchmark", "--dry-run").output
    rules = set(re.findall(r"^(\w+) +\d+$", output, re.MULTILINE))
    assert rules or "Nothing to be done" in output
    return rules - {"benchmark", "total"}


def test_a_benchmark_from_a_kill_to_other_options(finished: Workflow, encoder: dict[str, Any]) -> None:
    train = {"epochs": 2}
    configuration: dict[str, Any] = {"encoder": encoder, "benchmark": {"folds": [0, 1]}}
    finished.configure(**configuration, train=train)
    folder = finished.folder / "training/lite_medsam/benchmark"

    # A fold that is killed after its first epoch goes on from there.
    started = Started(finished, "benchmark", environment=os.environ)
    assert started.wait_for(lambda _: any(folder.glob("*/last.ckpt")))
    started.kill()
    killed = next(folder.glob("*/last.ckpt")).parent.name
    finished.run("--unlock")
    run = finished.run("benchmark")
    assert [job for job in run.jobs if "fine-tune" in job] != [] and run.of("embed", "publish") == []
    assert "resuming from" in (finished.folder / f"work/logs/train_fold/{killed}.log").read_text()
    assert "mean Dice without prompts" in run.output and "2 patients, cross-validation over 2 folds" in run.output

    # Nothing that is measured had a part in the training, and the dataset's own split plays no role.
    groups = {row["patient"]: row["group"] for row in read_table(finished.data / "manifest.tsv")}
    measured = []
    for fold in FOLDS:
        roles = {row["patient"]: row["split"] for row in read_sealed(folder / fold / "patients.tsv")}
        metrics = json.loads((folder / fold / "metrics.json").read_text())
        held_out = metrics["splits"]["test"]["patients"]
        assert held_out == [patient for patient, role in roles.items() if role == "test"]
        taught = metrics["training"]["patients"]
        assert not {*held_out} & {*taught["train"], *taught["val"]} and taught["train"] and taught["val"]
        assert metrics["splits"]["test"]["seen_in_training"] == {"chose_epoch": [], "trained_on": []}
        measured += held_out
    assert len(set(measured)) == len(measured) == 2 and "patient004" in groups and "patient004" not in measured
    rows = read_table(folder / "benchmark.tsv")
    assert {row["patients"] for row in rows if row["measure"] == "dice"} == {"2"}
    assert planned(finished) == set()

    # Another split of the published dataset moves its files and trains nothing anew. What is damaged is restored.
    models = [(folder / fold / "model.pth").stat().st_mtime_ns for fold in FOLDS]
    (folder / "fold_1/metrics.json").write_text("{}")
    (folder / "benchmark.html").unlink()
    finished.configure(**configuration, train=train, split={"fold": 1})
    finished.run("benchmark")
    assert [(folder / fold / "model.pth").stat().st_mtime_ns for fold in FOLDS] == models
    assert read_table(folder / "benchmark.tsv") == rows
    assert all(is_whole(index) for index in (folder / "fold_1/evaluated.tsv", folder / "index.tsv"))

    # Another option trains the folds anew, and makes nothing else of the dataset.
    finished.configure(**configuration, train=train | {"learning_rate": 0.001}, split={"fold": 1})
    assert planned(finished) == {"train_fold", "evaluate_fold", "write_benchmark"}
    finished.configure(**configuration, train=train | {"patients": 1}, split={"fold": 1})
    assert planned(finished) == {"folds", "train_fold", "evaluate_fold", "write_benchmark"}
