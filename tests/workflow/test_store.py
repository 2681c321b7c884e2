"""No slice is encoded twice, however patients are batched and whatever is lost or killed."""

import itertools
import os
import re
import shutil
import signal
from typing import Any

import pytest

from acdc_medsam.formats.files import read_table
from gate import Gate
from undisturbed import Started
from workflow_run import Run, Workflow


def test_another_percentile_recomputes_everything(few: Workflow) -> None:
    few.configure(**few.configuration(), normalize={"percentile": 95})
    run = few.run("embeddings")
    assert len(run.of("normalize")) == len(run.of("render")) == len(run.of("embed")) == 2


def test_a_deleted_embedding_alone_is_encoded_again(finished: Workflow) -> None:
    before = finished.stored()
    lost = sorted(finished.store.glob("*/*.pt"))[0]
    content = lost.read_bytes()
    lost.unlink()
    run = finished.run("verify")
    assert len(run.of("embed")) == 1 and not run.of("normalize", "render")
    assert lost.read_bytes() == content
    after = finished.stored()
    assert {name for name in after if after[name] != before[name]} == {lost.name}


def test_batches_of_another_width_encode_nothing(finished: Workflow, encoder: Any) -> None:
    before = finished.stored()
    for width, jobs in ((1, 4), (16, 1)):
        finished.configure(encoder={**encoder, "patients_per_job": width})
        assert len(finished.run("embeddings").of("embed")) == jobs
        assert finished.stored() == before


def test_batches_of_another_width_give_the_same_bytes(few: Workflow) -> None:
    content, config = {path.name: path.read_bytes() for path in few.store.glob("*/*.pt")}, few.configuration()
    for width, at_once in ((16, 1), (1, 2)):
        shutil.rmtree(few.store)
        few.configure(encoder={**config["encoder"], "patients_per_job": width})
        run = few.run("embeddings", "--resources", "gpu=2")
        assert {path.name: path.read_bytes() for path in few.store.glob("*/*.pt")} == content
        assert at_a_time(run, "embed") == at_once


def at_a_time(run: Run, rule: str) -> int:
    """The most jobs of a rule that were at work at once, by the order in which Snakemake names them."""
    started, finished = rf"Job \d+: {rule} ", rf"Finished jobid: \d+ \(Rule: {rule}\)"
    steps = [1 if match[1] else -1 for match in re.finditer(f"({started})|{finished}", run.output)]
    return max(itertools.accumulate(steps))


@pytest.mark.disturbed
def test_a_killed_job_keeps_what_it_had_encoded(few: Workflow, gate: Gate) -> None:
    shutil.rmtree(few.store)
    few.configure(encoder={**few.configuration()["encoder"], "patients_per_job": 16})
    few.environment = gate.environment
    slices = len(read_table(few.data / "manifest.tsv"))
    gate.hold("embed", 1, like="os.rename *.pt.tmp")
    started = Started(few, "embeddings")
    assert started.wait_for(lambda _: bool(gate.held("embed") and few.stored()))
    for job in gate.held("embed"):
        os.kill(job, signal.SIGKILL)
    gate.release("embed")
    assert started.process.wait() == 1
    kept = few.stored()
    assert len(kept) == 1 and slices > 2, "the job was killed midway"
    run = few.run("embeddings")
    after = few.stored()
    assert len(after) == slices and all(after[name] == kept[name] for name in kept)
    log = (few.folder / "work/logs/embed/p001-016.log").read_text()
    assert re.search(rf"encoded {slices - len(kept)} slices in [\d.]+ s, kept {len(kept)}$", log, re.MULTILINE)
    assert run.of("normalize", "render") == []
