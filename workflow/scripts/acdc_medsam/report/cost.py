"""Section "cost": the time of each stage and each patient, and the size of each kind of file."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acdc_medsam.acdc.naming import patient_number
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, Written, read_table
from acdc_medsam.report.drawing import SERIES, Chart
from acdc_medsam.report.elements import Table, format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

TIMED_STAGES = ("normalize", "adopt", "render", "embed", "positional_encoding", "split", "publish", "verify", "measure")
"""Stages that have finished when the report is written, in the order of the table."""

KINDS = {
    "images": "PNG images",
    "masks": "PNG masks",
    "image_embeddings": "embeddings",
    "positional_encoding": "positional encoding",
}
"""Folder of a published file -> kind of file. The H5 folders are recognized by their suffix."""


@dataclass(frozen=True)
class Job:
    """The benchmark of one job.

    Attributes:
        stage: The stage.
        item: What the job worked on: a patient, a batch, or the name of the stage for a job that works on everything.
        seconds: Wall-clock time in seconds.
        cpu_seconds: CPU time in seconds, 0 if Snakemake did not measure it.
        bytes: Largest resident memory in bytes, 0 if Snakemake did not measure it.
    """

    stage: str
    item: str
    seconds: float
    cpu_seconds: float
    bytes: float


@dataclass(frozen=True)
class Cost:
    """What the section shows.

    Attributes:
        stages: Table of stages.
        patients: Table of patients.
        files: Table of kinds of files.
        charts: Chart of the seconds of each patient, if there are any.
    """

    stages: Table
    patients: Table
    files: Table
    charts: Sequence[Chart]


def read_jobs(benchmarks: Path, items: Sequence[str]) -> list[Job]:
    """Read the benchmark files of all stages.

    Args:
        benchmarks: Folder of the benchmark files.
        items: Names of patients and batches. Files of other items, from earlier runs, are ignored.

    Returns:
        The jobs, in the order of the stages.
    """
    jobs = []
    for stage in TIMED_STAGES:
        paths = [benchmarks / stage / f"{item}.tsv" for item in items]
        for path in filter(Path.is_file, [*paths, benchmarks / f"{stage}.tsv"]):
            for row in _read_benchmark(path):
                seconds, cpu_seconds, megabytes = (_parse(row.get(column)) for column in ("s", "cpu_time", "max_rss"))
                # Snakemake gives memory in MiB.
                jobs.append(Job(stage, path.stem, seconds, cpu_seconds, 2**20 * megabytes))
    return jobs


def _read_benchmark(path: Path) -> list[Row]:
    """Read a benchmark file. A damaged one counts as empty, since nothing but the report depends on it."""
    try:
        return read_table(path)
    except DatasetError as error:
        logger.warning("%s; the cost of that job is not shown", error)
        return []


def _parse(text: str | None) -> float:
    """Parse a number of a benchmark file, 0 if the job was too short for Snakemake to measure it."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def cost_section(jobs: Sequence[Job], slices: Mapping[str, int], published: Iterable[Written]) -> Cost:
    """Compute the contents of the section.

    Args:
        jobs: The jobs, see :func:`read_jobs`.
        slices: Patient -> number of its slices in the dataset.
        published: Records of the published files.

    Returns:
        The contents of the section.
    """
    patients = sum_by_patient(jobs)
    return Cost(
        list_stages(jobs, len(slices)),
        list_patients(patients, slices),
        list_files(published),
        [draw_patients(patients)] if patients else [],
    )


def list_stages(jobs: Sequence[Job], patients: int) -> Table:
    """List the jobs, the time and the memory of each stage."""
    rows = []
    for stage in TIMED_STAGES:
        own = [job for job in jobs if job.stage == stage]
        if not own:
            continue

        longest = max(own, key=lambda job: job.seconds)
        longest_cell = f"{format_seconds(longest.seconds)} ({longest.item})" if len(own) > 1 else ""
        memory_cell = format_bytes(max(job.bytes for job in own))
        rows.append([*_sum_times(stage, own, patients), longest_cell, memory_cell])

    rows.append([*_sum_times("all", jobs, patients), "", ""])
    return Table(
        "Time of the jobs of each stage, from the last run of each job. Jobs ran in parallel, so the whole run took "
        "less time. Snakemake samples CPU time and memory at intervals and misses most of a short job.",
        ("Stage", "jobs", "seconds", "per patient", "CPU time", "longest job", "most memory"),
        rows,
    )


def _sum_times(name: str, jobs: Sequence[Job], patients: int) -> list[str]:
    """Return the cells of a row that add up the jobs of a stage, or of all stages."""
    seconds = sum(job.seconds for job in jobs)
    cpu_seconds = sum(job.cpu_seconds for job in jobs)
    return [name, format_count(len(jobs)), *map(format_seconds, (seconds, seconds / patients, cpu_seconds))]


def sum_by_patient(jobs: Sequence[Job]) -> dict[str, dict[str, float]]:
    """Return patient -> stage -> seconds, for the stages that have one job per patient."""
    patients: dict[str, dict[str, float]] = defaultdict(dict)
    for job in jobs:
        # Batches and jobs that work on everything cannot be attributed to a patient.
        if job.item.startswith("patient"):
            patients[job.item][job.stage] = job.seconds
    return dict(patients)


def _stages_of(patients: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Name the stages that any of the patients has a time for."""
    return [stage for stage in TIMED_STAGES if any(stage in seconds for seconds in patients.values())]


def list_patients(patients: Mapping[str, Mapping[str, float]], slices: Mapping[str, int]) -> Table:
    """List the seconds of the jobs of each patient.

    Args:
        patients: Patient -> stage -> seconds.
        slices: Patient -> number of its slices in the dataset.

    Returns:
        The table.
    """
    stages = _stages_of(patients)
    rows = [
        [name, format_count(slices.get(name, 0)), *(format_seconds(seconds.get(stage, 0)) for stage in stages)]
        for name, seconds in sorted(patients.items())
    ]
    return Table("Seconds of each patient's jobs.", ("Patient", "slices kept", *stages), rows)


def draw_patients(patients: Mapping[str, Mapping[str, float]]) -> Chart:
    """Chart the seconds of each patient's jobs."""
    points = {
        stage: {patient_number(name): times[stage] for name, times in patients.items() if stage in times}
        for stage in _stages_of(patients)
    }
    words = []
    for stage, seconds in points.items():
        median = float(np.median(list(seconds.values())))
        longest = max(seconds.values())
        words.append(f"{stage}: median {format_seconds(median)}, longest {format_seconds(longest)}")

    draw = partial(_draw_patients, points=points)
    return Chart("seconds", "Seconds of each patient's jobs", "; ".join(words) + ".", draw)


def _draw_patients(axes: "Axes", points: Mapping[str, Mapping[int, float]]) -> None:
    """Draw for each stage the seconds against the number of the patient."""
    for index, (stage, seconds) in enumerate(points.items()):
        axes.scatter(
            list(seconds),
            list(seconds.values()),
            s=12,
            marker="os"[index % 2],
            color=SERIES[index],
            linewidths=0,
            alpha=0.8,
            label=stage,
        )
    axes.set(xlabel="number of the patient", ylabel="seconds")
    axes.set_ylim(bottom=0)
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))


def list_files(published: Iterable[Written]) -> Table:
    """List the number and the size of the published files of each kind, the largest kind first."""
    counts = Counter[str]()
    sizes = Counter[str]()
    for written in published:
        folder = written.path.parent.name
        h5_kind = folder.rsplit("_", 1)[-1]
        kind = f"H5 {h5_kind}" if written.path.suffix == ".h5" else KINDS.get(folder, "manifest")
        counts[kind] += 1
        sizes[kind] += written.bytes

    rows = [
        [kind, format_count(count), format_bytes(sizes[kind]), format_bytes(sizes[kind] / count)]
        for kind, count in sorted(counts.items(), key=lambda item: -sizes[item[0]])
    ]
    rows.append(["all", format_count(counts.total()), format_bytes(sizes.total()), ""])
    return Table(
        "Published files. Hard links into work/ take no additional space.",
        ("Kind", "files", "size", "mean size of a file"),
        rows,
    )
