"""The workflow on a Slurm cluster that the tests start: job arrays, one job per GPU, and jobs that Slurm ends."""

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
from workflow_run import ROOT, SERVER, Run, Workflow

PROFILE = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
# The profile as it is, except that Slurm is queried more often, and without accounting, which this cluster lacks.
OPTIONS = ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "1"]
OPTIONS += ["--slurm-status-command", "squeue", "--profile", str(ROOT / "profiles/slurm")]


class ClusterWorkflow(Workflow):
    """A workflow whose jobs go through Slurm.

    Attributes:
        cluster: The cluster.
        seconds: Time after which a run is given up.
    """

    def __init__(self, folder: Path, cluster: SlurmCluster, served: bool = True) -> None:
        """Take a folder and the cluster that runs the jobs.

        Args:
            folder: Folder of the workflow.
            cluster: Cluster that runs the jobs.
            served: Whether the server starts the run and its jobs. This saves three starts of Python per job.
        """
        super().__init__(folder)
        self.cluster = cluster
        self.seconds = 500
        self.served = served
        self.environment = cluster.environment

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a run, with the profile instead of a number of cores."""
        python, *common = super().command()
        assert common[-2] == "--cores"
        start = ["timeout", str(self.seconds), SERVER.python() if self.served else python]
        return [*start, *common[:-2], *OPTIONS, *arguments]

    def records(self, state: str = "") -> list[dict[str, str]]:
        """Return Slurm's records of this folder's jobs, or only of those in a state."""
        jobs = [job for job in self.cluster.jobs() if job["WorkDir"] == str(self.folder)]
        return [job for job in jobs if state in ("", job["JobState"])]


def rule_of(job: dict[str, str]) -> str:
    """Return the rule of a job, from Slurm's record."""
    return job["Comment"].removeprefix("rule_").split("_wildcards_")[0]


def is_stopped(pid: int) -> bool:
    """Whether a process has received the signal to stop."""
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def overlap(jobs: list[dict[str, str]]) -> bool:
    """Whether one of the jobs began before another one had ended."""
    times = sorted((datetime.fromisoformat(job["StartTime"]), datetime.fromisoformat(job["EndTime"])) for job in jobs)
    return any(later[0] < earlier[1] for earlier, later in pairwise(times))


@dataclass(frozen=True)
class Interrupted:
    """A run whose first two jobs are ended by Slurm.

    Attributes:
        workflow: Workflow of the run.
        process: Process of Snakemake, which continues the run.
        cancelled: ID of the job that was cancelled.
        stopped: ID of the job that does nothing until its time is over.
    """

    workflow: ClusterWorkflow
    process: subprocess.Popen[str]
    cancelled: str
    stopped: str


@pytest.fixture(scope="module")
def interrupted(
    cluster: SlurmCluster, undisturbed: Workflow, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Interrupted]:
    """Start a run beside the others, because Slurm looks for jobs that are out of time only every half minute."""
    folder = tmp_path_factory.mktemp("interrupted")
    # Slurm ends the processes of a job itself, so these must not be forks of the server.
    workflow = ClusterWorkflow(folder / "run", cluster, served=False)
    gate = Gate(folder / "gate")
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
        # The shortest time limit that Slurm takes is a minute.
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
    """The complete local run, repeated through Slurm."""
    folder = tmp_path_factory.mktemp("slurm")
    workflow = ClusterWorkflow(folder / "run", cluster)
    gate = Gate(folder / "gate")
    workflow.environment = gate.environment_of(cluster.environment)
    shutil.copytree(undisturbed.raw, workflow.raw)
    workflow.configure(**undisturbed.configuration())

    # Each embedding job waits for the other one. Slurm records their times in whole seconds.
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
    """The tables of embeddings, made again with a limit of one GPU, and two unusable patients.

    Jobs are selected one by one. Without the workflow's remedy, the plugin would wait forever for the other patients.
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
    assert len(script) / 2 * PROFILE["slurm-array-limit"] < 2**17, "Linux's limit on the length of an argument"


def test_many_patients_take_few_submissions(
    cluster: SlurmCluster, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Submit many patients at once; each submission takes some seconds of CPU time."""
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
    assert overlap(jobs) and len({devices[job["JobId"]] for job in jobs}) == len(jobs)
    assert {devices[job["JobId"]] for job in workflow.records() if rule_of(job) != "embed"} == {"none"}


def test_with_one_gpu_embedding_jobs_run_one_at_a_time(one_gpu: tuple[ClusterWorkflow, Run]) -> None:
    jobs = [job for job in one_gpu[0].records() if rule_of(job) == "embed"]
    assert len(jobs) == 2 and not overlap(jobs)


def test_a_failed_job_is_named_with_its_reason(one_gpu: tuple[ClusterWorkflow, Run]) -> None:
    output = one_gpu[1].output
    for name in ("patient007", "patient008"):
        assert "Error in rule normalize" in output and f"work/logs/normalize/{name}.log" in output
        assert f"ERROR {name}: {name}_frame01.nii.gz: intensities have no range to scale" in output


def test_the_result_equals_a_local_run(through_slurm: tuple[ClusterWorkflow, Run], undisturbed: Workflow) -> None:
    ours = content(through_slurm[0].folder)
    local = content(undisturbed.folder)
    assert len(ours) > 30
    assert ours.keys() == local.keys()
    # The report shows how long the jobs took, and the provenance has the sha256 of the report.
    timed = {"data/ACDC/report.html", "data/ACDC/provenance.json"}
    assert {path for path in ours if ours[path] != local[path]} <= timed


def content(folder: Path) -> dict[str, bytes]:
    """Return path -> bytes of every file of the dataset and of the store."""
    folders = [folder / "data/ACDC", folder / "work/embeddings/store", *folder.glob("ACDC_*")]
    # The records in the store contain the times at which the embeddings were written.
    files = [path for parent in folders for path in parent.rglob("*") if path.is_file() and path.suffix != ".json"]
    files += folder.glob("data/ACDC/*.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_jobs_that_slurm_ends_are_made_again(interrupted: Interrupted, undisturbed: Workflow) -> None:
    folder = interrupted.workflow.folder
    assert interrupted.process.wait(timeout=300) == 0, (folder / "output").read_text()
    records = interrupted.workflow.records()
    by_number = {f"{job.get('ArrayJobId')}_{job.get('ArrayTaskId')}": job for job in records}
    cancelled = by_number[interrupted.cancelled]
    stopped = by_number[interrupted.stopped]
    assert (cancelled["JobState"], stopped["JobState"]) == ("CANCELLED", "TIMEOUT")
    second_attempt = records[2]
    assert cancelled["TimeLimit"] == "00:10:00" and second_attempt["TimeLimit"] == "00:20:00"
    assert memory(second_attempt) > 1.9 * memory(stopped)

    made = sorted(path.relative_to(folder) for path in folder.glob("work/h5/**/*.h5"))
    assert len(made) == 2 * (1 + 1) + 2 * (1 + 3), "volumes and slices of two frames of two patients"
    assert all((folder / path).read_bytes() == (undisturbed.folder / path).read_bytes() for path in made)


def memory(job: dict[str, str]) -> int:
    """Return the memory that a job requested, in MiB."""
    return int(job["MinMemoryNode"].removesuffix("M"))
