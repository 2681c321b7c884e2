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
from remembered import COMPUTE
from undisturbed import Started
from workflow_run import Run, Workflow


def test_another_percentile_recomputes_everything(small_run: Workflow) -> None:
    small_run.configure(**small_run.configuration(), normalize={"percentile": 95})
    run = small_run.run("embeddings")
    assert len(run.of("normalize")) == len(run.of("render")) == len(run.of("embed")) == 2


def test_only_a_deleted_embedding_is_encoded_again(finished: Workflow) -> None:
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


def test_batches_of_another_width_give_the_same_bytes(small_run: Workflow) -> None:
    content = {path.name: path.read_bytes() for path in small_run.store.glob("*/*.pt")}
    one_of_each = {row["patient"]: row["embedding_digest"] for row in read_table(small_run.data / "manifest.tsv")}
    config = small_run.configuration()
    small_run.environment = {**os.environ, COMPUTE: "1"}
    for width, at_once, lost in ((16, 1, content), (1, 2, [f"{digest}.pt" for digest in one_of_each.values()])):
        for path in small_run.store.glob("*/*.pt"):
            if path.name in lost:
                path.unlink()
        small_run.configure(encoder={**config["encoder"], "patients_per_job": width})
        run = small_run.run("embeddings", "--resources", "gpu=2")
        assert {path.name: path.read_bytes() for path in small_run.store.glob("*/*.pt")} == content
        assert most_at_once(run, "embed") == at_once


def most_at_once(run: Run, rule: str) -> int:
    """Return the largest number of a rule's jobs that ran at once, from the order of Snakemake's messages."""
    started = rf"Job \d+: {rule} "
    finished = rf"Finished jobid: \d+ \(Rule: {rule}\)"
    steps = [1 if match[1] else -1 for match in re.finditer(f"({started})|{finished}", run.output)]
    return max(itertools.accumulate(steps))


@pytest.mark.timing
def test_a_killed_job_keeps_what_it_had_encoded(small_run: Workflow, gate: Gate) -> None:
    shutil.rmtree(small_run.store)
    small_run.configure(encoder={**small_run.configuration()["encoder"], "patients_per_job": 16})
    slices = len(read_table(small_run.data / "manifest.tsv"))
    gate.hold("embed", 1, like="os.rename *.pt.tmp")
    started = Started(small_run, "embeddings", environment=gate.environment)
    assert started.wait_for(lambda _: bool(gate.held("embed") and small_run.stored()))
    for job in gate.held("embed"):
        os.kill(job, signal.SIGKILL)
    gate.release("embed")
    assert started.process.wait() == 1

    kept = small_run.stored()
    assert len(kept) == 1 and slices > 2, "the job was killed midway"
    run = small_run.run("embeddings")
    after = small_run.stored()
    assert len(after) == slices and all(after[name] == kept[name] for name in kept)
    log = (small_run.folder / "work/logs/embed/p001-016.log").read_text()
    assert re.search(rf"encoded {slices - len(kept)} slices in [\d.]+ s, kept {len(kept)}$", log, re.MULTILINE)
    assert run.of("normalize", "render") == []
