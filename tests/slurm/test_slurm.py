"""The workflow on a Slurm that the tests start: through arrays, one job a GPU, and past jobs that Slurm ends."""

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
import yaml

from acdc_medsam.phantom.cohort import write_cohort
from gate import Gate
from slurm_cluster import SlurmCluster, wait_for
from workflow_run import ROOT, Run, Workflow

PROFILE = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
# The profile as it is, but that Slurm is asked more often, and not through its accounting, which this one has not.
OPTIONS = ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "1"]
OPTIONS += ["--slurm-status-command", "squeue", "--profile", str(ROOT / "profiles/slurm")]


class ClusterWorkflow(Workflow):
    """A workflow whose jobs go through Slurm."""

    def __init__(self, folder: Path, cluster: SlurmCluster) -> None:
        super().__init__(folder)
        self.cluster, self.environment = cluster, cluster.environment
        self.seconds = 500

    def command(self, *arguments: str) -> list[str]:
        """The command line of a run, with the profile instead of a number of cores."""
        common = super().command()
        assert common[-2] == "--cores"
        return ["timeout", str(self.seconds), *common[:-2], *OPTIONS, *arguments]

    def records(self, state: str = "") -> list[dict[str, str]]:
        """Slurm's records of this folder's jobs, or of those in a state."""
        jobs = [job for job in self.cluster.jobs() if job["WorkDir"] == str(self.folder)]
        return [job for job in jobs if state in ("", job["JobState"])]


def rule_of(job: dict[str, str]) -> str:
    return job["Comment"].removeprefix("rule_").split("_wildcards_")[0]


def is_stopped(number: int) -> bool:
    """Whether a process has got the signal to stop."""
    return psutil.Process(number).status() == psutil.STATUS_STOPPED


def at_the_same_time(jobs: list[dict[str, str]]) -> bool:
    """Whether one of the jobs began before another had ended."""
    times = sorted((datetime.fromisoformat(job["StartTime"]), datetime.fromisoformat(job["EndTime"])) for job in jobs)
    return any(later[0] < earlier[1] for earlier, later in pairwise(times))


@dataclass(frozen=True)
class Interrupted:
    """A run that goes on, and two of its first jobs: one was cancelled, one does nothing until its time is over."""

    workflow: ClusterWorkflow
    process: subprocess.Popen[str]
    cancelled: str
    stopped: str


@pytest.fixture(scope="module")
def interrupted(
    cluster: SlurmCluster, undisturbed: Workflow, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Interrupted]:
    """A run beside the other ones, because Slurm looks every half minute for jobs that are out of time."""
    folder = tmp_path_factory.mktemp("interrupted")
    workflow, gate = ClusterWorkflow(folder / "run", cluster), Gate(folder / "gate")
    workflow.environment = gate.environment_of(cluster.environment)
    gate.hold("normalize")
    shutil.copytree(undisturbed.raw, workflow.raw)
    workflow.configure(encoder={"name": "none"})
    with (workflow.folder / "output").open("w") as output:
        process = subprocess.Popen(
            workflow.command("volumes"),
            cwd=workflow.folder,
            env=workflow.environment,
            text=True,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: len(gate.held("normalize")) == 2, "jobs that are held", 300)
        cancelled, stopped = (f"{job['ArrayJobId']}_{job['ArrayTaskId']}" for job in workflow.records("RUNNING"))
        cluster.tool("scancel", "--full", "--signal=STOP", stopped)
        wait_for(lambda: any(map(is_stopped, gate.held("normalize"))), "a job that does nothing")
        # The profile's limits are of minutes; Slurm's shortest is one.
        cluster.tool("scontrol", "update", f"JobId={stopped}", "EndTime=now+2")
        cluster.tool("scancel", cancelled)
        gate.release("normalize")
        yield Interrupted(workflow, process, cancelled, stopped)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def through_slurm(
    interrupted: Interrupted,
    undisturbed: Workflow,
    cluster: SlurmCluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[ClusterWorkflow, Run]:
    """What the complete local run did, through Slurm."""
    folder = tmp_path_factory.mktemp("slurm")
    workflow, gate = ClusterWorkflow(folder / "run", cluster), Gate(folder / "gate")
    workflow.environment = gate.environment_of(cluster.environment)
    shutil.copytree(undisturbed.raw, workflow.raw)
    workflow.configure(**undisturbed.configuration())

    # Either embedding job waits for the other; Slurm notes their times in whole seconds.
    gate.hold("embed")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(workflow.run)
        wait_for(lambda: len(gate.held("embed")) == 2 or run.done(), "two embedding jobs at once", workflow.seconds)
        time.sleep(1)
        gate.release("embed")
        return workflow, run.result()


@pytest.fixture(scope="module")
def one_gpu(
    through_slurm: tuple[ClusterWorkflow, Run], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ClusterWorkflow, Run]:
    """Then the tables of embeddings again, with a limit of one GPU, and two patients that cannot be used.

    Jobs are chosen one by one, which the plugin would have wait for the other patients for ever.
    """
    folder = through_slurm[0].copy(tmp_path_factory.mktemp("one_gpu") / "run").folder
    workflow = ClusterWorkflow(folder, through_slurm[0].cluster)
    for patient in write_cohort(workflow.raw, patients=2, first=7, in_plane=(48, 40), depth=4):
        path = patient / f"{patient.name}_frame01.nii.gz"
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.full(image.shape, 5, np.int16), image.affine), path)
    tables = [f"work/embeddings/lite_medsam/{batch}.tsv" for batch in ("p001-001", "p002-002")]
    for table in tables:
        (folder / table).unlink()
    options = ["--resources", "gpu=1", "--retries", "0", "--scheduler-subsample", "1"]
    indexes = [f"work/h5/patient00{number}/index.tsv" for number in (7, 8)]
    return workflow, workflow.run(*options, *tables, *indexes, expect=1)


def test_every_job_goes_through_slurm(through_slurm: tuple[ClusterWorkflow, Run]) -> None:
    workflow, run = through_slurm
    records = workflow.records()
    assert {job["JobState"] for job in records} == {"COMPLETED"}
    rules = Counter(map(rule_of, records))
    assert [rules[name] for name in ("normalize", "render", "embed", "publish")] == [2, 2, 2, 1]
    assert len(records) == len(run.jobs)


def test_patients_are_submitted_as_arrays(through_slurm: tuple[ClusterWorkflow, Run]) -> None:
    workflow, _ = through_slurm
    arrays = {job["ArrayJobId"] for job in workflow.records() if rule_of(job) == "normalize"}
    assert len(arrays) == 1
    script = workflow.cluster.tool("scontrol", "write", "batch_script", *arrays, "-")
    assert len(script) / 2 * PROFILE["slurm-array-limit"] < 2**17, "Linux's limit on the length of one argument"


def test_many_patients_take_few_submissions(
    cluster: SlurmCluster, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each job takes some seconds of CPU time to start."""
    patients: int = request.config.getoption("--slurm-patients")
    if not patients:
        pytest.skip("submit so many patients with --slurm-patients")
    workflow = ClusterWorkflow(tmp_path, cluster)
    workflow.seconds = 100 + 20 * patients
    write_cohort(workflow.raw, patients, in_plane=(48, 40), depth=4)
    workflow.configure(encoder={"name": "none"})
    run = workflow.run("images")
    submissions = {(rule_of(job), job.get("ArrayJobId", job["JobId"])) for job in workflow.records()}
    print(f"{patients} patients, {len(run.jobs)} jobs, submissions:", dict(Counter(rule for rule, _ in submissions)))
    assert len(run.of("normalize", "render")) == 2 * patients
    assert len(submissions) <= len(run.jobs) / 4


def test_each_embedding_job_has_a_gpu_of_its_own(through_slurm: tuple[ClusterWorkflow, Run]) -> None:
    workflow, _ = through_slurm
    jobs = [job for job in workflow.records() if rule_of(job) == "embed"]
    devices = workflow.cluster.devices()
    cpus = str(min(PROFILE["set-threads"]["embed"], len(os.sched_getaffinity(0))))
    assert {(job["Partition"], job["TresPerJob"], job["CPUs/Task"]) for job in jobs} == {("gpu", "gres:gpu:1", cpus)}
    assert at_the_same_time(jobs) and len({devices[job["JobId"]] for job in jobs}) == len(jobs)
    assert {devices[job["JobId"]] for job in workflow.records() if rule_of(job) != "embed"} == {"none"}


def test_a_limit_of_one_gpu_means_one_embedding_job_at_a_time(one_gpu: tuple[ClusterWorkflow, Run]) -> None:
    jobs = [job for job in one_gpu[0].records() if rule_of(job) == "embed"]
    assert len(jobs) == 2 and not at_the_same_time(jobs)


def test_a_failed_job_is_named_with_its_reason(one_gpu: tuple[ClusterWorkflow, Run]) -> None:
    output = one_gpu[1].output
    for name in ("patient007", "patient008"):
        assert "Error in rule normalize" in output and f"work/logs/normalize/{name}.log" in output
        assert f"ERROR {name}: {name}_frame01.nii.gz: intensities have no range to scale" in output


def test_the_result_is_the_local_runs(through_slurm: tuple[ClusterWorkflow, Run], undisturbed: Workflow) -> None:
    ours, locally = (content(workflow.folder) for workflow in (through_slurm[0], undisturbed))
    assert len(ours) > 30
    assert ours.keys() == locally.keys()
    # The report shows how long the jobs took, and the provenance has the report's sha256.
    timed = {"data/ACDC/report.html", "data/ACDC/provenance.json"}
    assert {path for path in ours if ours[path] != locally[path]} <= timed


def content(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of every file of the dataset and of the store."""
    places = [folder / "data/ACDC", folder / "work/embeddings/store", *folder.glob("ACDC_*")]
    # The records in the store have the times at which the embeddings were written.
    files = [path for place in places for path in place.rglob("*") if path.is_file() and path.suffix != ".json"]
    files += folder.glob("data/ACDC/*.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_jobs_that_slurm_ends_are_made_again(interrupted: Interrupted, undisturbed: Workflow) -> None:
    folder = interrupted.workflow.folder
    assert interrupted.process.wait(timeout=300) == 0, (folder / "output").read_text()
    records = interrupted.workflow.records()
    by_number = {f"{job.get('ArrayJobId')}_{job.get('ArrayTaskId')}": job for job in records}
    cancelled, stopped = by_number[interrupted.cancelled], by_number[interrupted.stopped]
    assert (cancelled["JobState"], stopped["JobState"]) == ("CANCELLED", "TIMEOUT")
    second_attempt = records[2]
    assert cancelled["TimeLimit"] == "00:10:00" and second_attempt["TimeLimit"] == "00:20:00"
    assert memory(second_attempt) > 1.9 * memory(stopped)
    made = sorted(path.relative_to(folder) for path in folder.glob("work/h5/**/*.h5"))
    assert len(made) == 2 * 2 * (1 + 3), "volumes and slices of two frames of two patients"
    assert all((folder / path).read_bytes() == (undisturbed.folder / path).read_bytes() for path in made)


def memory(job: dict[str, str]) -> int:
    """MiB that a job asked for."""
    return int(job["MinMemoryNode"].removesuffix("M"))
