"""Time the jobs `measure` and `report` on a finished cohort: from nothing, and after a change of one patient.

    python benchmarks/report.py --patients 100 --cores 2 --rounds 3

The embeddings of the cohort are random numbers in files like the workflow's own, 8 GB for 100 patients. In each round
one patient changes, whose slices the page shows. Then the jobs' scripts run, each in a process of its own: as they are
after the change, without any further change, and from nothing. The three reports must have the same bytes.
"""

import argparse
import json
import random
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from child import run_child

ROOT = Path(__file__).parents[1]
JOBS = ("measure", "report")
CHANGED = "patient001"
SETTINGS = {"encoder": "lite_medsam", "precision": "float32", "split": {}}


class Files(dict[str, Any]):
    """Files of a job, by name and as attributes, as Snakemake passes them."""

    __getattr__ = dict[str, Any].__getitem__


def run_script(job: str, folder: Path, cores: int) -> None:
    """Run the script of a job in this process, with what Snakemake would pass to it."""
    work = folder / "out/work"
    data = folder / "out/data/ACDC"
    tables = sorted(work.glob("png/*/slices.tsv"))
    embeddings = [work / "embeddings/lite_medsam/p001-999.tsv"]
    inputs = {
        "measure": Files(
            h5=[work / "h5" / table.parent.name / "index.tsv" for table in tables],
            slices=tables,
            embeddings=embeddings,
            raw=[path for path in sorted(folder.glob("raw/training/*/*.nii.gz")) if "_gt" not in path.name],
        ),
        "report": Files(
            manifest=data / "manifest.tsv",
            quality=data / "quality.json",
            measures=work / "measures/index.tsv",
            published=work / "published.tsv",
            embeddings=embeddings,
            template=ROOT / "workflow/report/page/page.html.j2",
        ),
    }
    outputs = {
        "measure": Files(index=work / "measures/index.tsv"),
        "report": Files(report=data / "report.html", index=work / "report.tsv"),
    }
    none = folder / "none"
    shown = {"metrics": none, "benchmark_results": none}
    params = Files(code="benchmark", benchmarks=work / "benchmarks", settings=SETTINGS, **shown)
    snakemake = SimpleNamespace(
        input=inputs[job], output=outputs[job], params=params, log=[folder / f"{job}.log"], threads=cores
    )
    runpy.run_path(str(ROOT / f"workflow/scripts/{job}.py"), {"snakemake": snakemake}, "__main__")


def time_jobs(folder: Path, cores: int) -> dict[str, dict[str, float]]:
    """Run the jobs one after the other; returns the wall-clock and the CPU seconds of each."""
    seconds = {}
    for job in JOBS:
        finished = run_child(__file__, {"job": job, "folder": str(folder), "cores": cores})
        seconds[job] = {"seconds": round(finished.seconds, 2), "cpu_seconds": round(finished.cpu_seconds, 2)}
    return seconds


def remove_kept(folder: Path) -> None:
    """Remove everything that the jobs have made."""
    shutil.rmtree(folder / "out/work/measures", ignore_errors=True)
    for path in ("work/report.tsv", "work/report_pieces.json", "data/ACDC/report.html"):
        (folder / "out" / path).unlink(missing_ok=True)


def measure_round(folder: Path, cores: int, seed: int) -> dict[str, Any]:
    """Change the patient, and time the jobs in the three ways."""
    # It imports PyTorch, which the jobs do without.
    from finished_cohort import Cohort

    Cohort(folder).replace(CHANGED, seed)
    times = {}
    pages = set()
    for way in ("changed", "nothing changed", "from nothing"):
        if way == "from nothing":
            remove_kept(folder)
        times[way] = time_jobs(folder, cores)
        pages.add((folder / "out/data/ACDC/report.html").read_bytes())
        print(f"{way}: {times[way]}", file=sys.stderr)
    assert len(pages) == 1, "the report depends on what was kept"
    return times


def measure(folder: Path, patients: int, cores: int, rounds: int) -> dict[str, Any]:
    """Make the cohort, and report the best times of all rounds."""
    from finished_cohort import Cohort

    Cohort(folder).make(patients)
    time_jobs(folder, cores)
    # In a folder that is kept, a seed of an earlier call would change nothing.
    measured = [measure_round(folder, cores, random.randrange(2**31)) for _ in range(rounds)]
    best = {
        way: {
            job: {kind: min(times[way][job][kind] for times in measured) for kind in ("seconds", "cpu_seconds")}
            for job in JOBS
        }
        for way in measured[0]
    }
    slices = len((folder / "out/data/ACDC/manifest.tsv").read_text().splitlines()) - 1
    return {"slices": slices, "cores": cores, **best}


def main() -> None:
    """Read the command line, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100, help="synthetic patients of ACDC's size")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="number of rounds, of which the best times are reported")
    parser.add_argument("--folder", type=Path, help="folder that keeps the cohort for the next call")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child = json.loads(options.child)
        run_script(child["job"], Path(child["folder"]), child["cores"])
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        print(json.dumps(measure(folder.absolute(), options.patients, options.cores, options.rounds)))


if __name__ == "__main__":
    main()
