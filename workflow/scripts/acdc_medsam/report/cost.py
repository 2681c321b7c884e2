"""Section "cost": seconds per stage and per patient, and bytes per kind of file."""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acdc_medsam.acdc.naming import patient_number
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Row, read_table
from acdc_medsam.formats.index import read_records
from acdc_medsam.report.drawing import SERIES, draw_chart
from acdc_medsam.report.elements import Chart, Table, format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

TIMED_STAGES = ("normalize", "render", "embed", "positional_encoding", "split", "publish", "verify", "measure")
"""Stages in the order in which the table lists them; all are done when the report is written."""

KINDS = {
    "images": "PNG images",
    "masks": "PNG masks",
    "image_embeddings": "embeddings",
    "positional_encoding": "positional encoding",
}
"""Folder of a published file -> what it holds; the H5 folders are told by how they end."""


@dataclass(frozen=True)
class Job:
    """One job's benchmark: stage, what it was for (a patient, a batch, or the stage), seconds and most memory."""

    stage: str
    item: str
    seconds: float
    cpu_seconds: float
    bytes: float


@dataclass(frozen=True)
class Cost:
    """Tables of stages, patients and files; and a chart of seconds per patient."""

    stages: Table
    patients: Table
    files: Table
    charts: Sequence[Chart]


def read_jobs(benchmarks: Path, items: Sequence[str]) -> list[Job]:
    """Read the benchmark files of the stages, of jobs for ``items`` (patients and batches) or for all at once."""
    jobs = []
    for stage in TIMED_STAGES:
        paths = [benchmarks / stage / f"{item}.tsv" for item in items]
        for path in filter(Path.is_file, [*paths, benchmarks / f"{stage}.tsv"]):
            for row in _rows(path):
                values = [_number(row.get(column)) for column in ("s", "cpu_time", "max_rss")]
                jobs.append(Job(stage, path.stem, values[0], values[1], 2**20 * values[2]))
    return jobs


def _rows(path: Path) -> list[Row]:
    """What a benchmark file says; nothing if it is damaged, since no other file depends on it."""
    try:
        return read_table(path)
    except DatasetError as error:
        logger.warning("%s; the cost of that job is not shown", error)
        return []


def _number(text: str | None) -> float:
    """A figure of a benchmark, 0 where Snakemake had no time to measure it."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def cost_section(jobs: Sequence[Job], slices: Mapping[str, int], published: Path) -> Cost:
    """Put together the section.

    Args:
        jobs: see :func:`read_jobs`.
        slices: patient -> number of its slices that were kept.
        published: index of published files.
    """
    patients = seconds_per_patient(jobs)
    return Cost(
        list_stages(jobs, len(slices)),
        list_patients(patients, slices),
        list_files(published),
        [draw_patients(patients)] if patients else [],
    )


def list_stages(jobs: Sequence[Job], patients: int) -> Table:
    """Jobs, seconds and memory of each stage."""
    rows = []
    for stage in TIMED_STAGES:
        of_stage = [job for job in jobs if job.stage == stage]
        if of_stage:
            longest = max(of_stage, key=lambda job: job.seconds)
            rows.append(
                [
                    *_times(stage, of_stage, patients),
                    f"{format_seconds(longest.seconds)} ({longest.item})" if len(of_stage) > 1 else "",
                    format_bytes(max(job.bytes for job in of_stage)),
                ]
            )
    rows.append([*_times("all", jobs, patients), "", ""])
    return Table(
        "Time of each stage's jobs, the last run of each; jobs ran side by side, so that the whole took less. "
        "Snakemake looks at CPU time and memory now and then, and sees little of a short job.",
        ("Stage", "jobs", "seconds", "per patient", "CPU time", "longest job", "most memory"),
        rows,
    )


def _times(name: str, jobs: Sequence[Job], patients: int) -> list[str]:
    seconds = sum(job.seconds for job in jobs)
    cpu_seconds = sum(job.cpu_seconds for job in jobs)
    return [name, format_count(len(jobs)), *map(format_seconds, (seconds, seconds / patients, cpu_seconds))]


def seconds_per_patient(jobs: Sequence[Job]) -> dict[str, dict[str, float]]:
    """Patient -> stage -> seconds, for the stages whose jobs are patients."""
    patients: dict[str, dict[str, float]] = defaultdict(dict)
    for job in jobs:
        if job.item.startswith("patient"):
            patients[job.item][job.stage] = job.seconds
    return dict(patients)


def list_patients(patients: Mapping[str, Mapping[str, float]], slices: Mapping[str, int]) -> Table:
    """Seconds of every patient."""
    stages = [stage for stage in TIMED_STAGES if any(stage in seconds for seconds in patients.values())]
    rows = [
        [name, format_count(slices.get(name, 0)), *(format_seconds(seconds.get(stage, 0)) for stage in stages)]
        for name, seconds in sorted(patients.items())
    ]
    return Table("Seconds of each patient's jobs.", ("Patient", "slices kept", *stages), rows)


def draw_patients(patients: Mapping[str, Mapping[str, float]]) -> Chart:
    """Draw the seconds of each patient's jobs."""
    stages = [stage for stage in TIMED_STAGES if any(stage in seconds for seconds in patients.values())]

    def draw(axes: "Axes") -> None:
        for number, stage in enumerate(stages):
            seconds = {patient_number(name): of[stage] for name, of in patients.items() if stage in of}
            axes.scatter(
                list(seconds),
                list(seconds.values()),
                s=12,
                marker="os"[number % 2],
                color=SERIES[number],
                linewidths=0,
                alpha=0.8,
                label=stage,
            )
        axes.set(xlabel="number of the patient", ylabel="seconds")
        axes.set_ylim(bottom=0)
        axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))

    words = []
    for stage in stages:
        seconds = [of[stage] for of in patients.values() if stage in of]
        words.append(
            f"{stage}: median {format_seconds(float(np.median(seconds)))}, longest {format_seconds(max(seconds))}"
        )
    return draw_chart("seconds", "Seconds of each patient's jobs", "; ".join(words) + ".", draw)


def list_files(published: Path) -> Table:
    """Number and bytes of the published files of each kind."""
    numbers, sizes = Counter[str](), Counter[str]()
    for written, _ in read_records(published):
        folder = written.path.parent.name
        ending = folder.rsplit("_", 1)[-1]
        kind = f"H5 {ending}" if written.path.suffix == ".h5" else KINDS.get(folder, "manifest")
        numbers[kind] += 1
        sizes[kind] += written.bytes
    rows = [
        [kind, format_count(number), format_bytes(sizes[kind]), format_bytes(sizes[kind] / number)]
        for kind, number in sorted(numbers.items(), key=lambda item: -sizes[item[0]])
    ]
    rows.append(["all", format_count(numbers.total()), format_bytes(sizes.total()), ""])
    return Table(
        "Published files. Those that are hard links into work/ take no further space.",
        ("Kind", "files", "size", "mean size of a file"),
        rows,
    )
