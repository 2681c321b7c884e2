"""Time the start of each stage's job, and list the imports that take longest.

    python benchmarks/startup.py --rounds 5
    python benchmarks/startup.py --target images --json

A small workflow keeps the scripts that Snakemake makes of the stages' own, and each of these is run again. Up to its
first own line, a job's time belongs to Python and to Snakemake, which puts its preamble there; ``imports`` is the time
up to the last import, and ``whole`` that of the whole job. The shell that Snakemake starts for the job is not included.
On a machine that is busy with other work, the CPU times are more reliable.

An import includes everything that it imports in turn, and belongs to whichever of several imports comes first.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acdc_medsam.phantom.cohort import write_patient
from child import run
from cohort import run_workflow

PREAMBLE_END = "######## snakemake preamble end #########\n"
GUARD = '\nif __name__ == "__main__"'
OWN = "acdc_medsam"
SHOWN = 10
"""Number of imports that are listed for each stage."""

MARK = "import time as _t; _times = [_t.perf_counter(), _t.process_time()]\n"
LAST_MARK = (
    '\nprint(__import__("json").dumps({"times": [*_times, _t.perf_counter(), _t.process_time()]}))\nraise SystemExit\n'
)
IMPORT_LINE = re.compile(r"import time: +(?P<own>\d+) \| +(?P<total>\d+) \|(?P<indent> +)(?P<name>\S+)")
"""Line that ``python -X importtime`` prints after a module's import, in microseconds."""


def keep_scripts(folder: Path, target: str) -> dict[str, Path]:
    """Run the workflow on one small patient, from NIfTI and from H5 files; returns stage -> one of its scripts."""
    write_patient(folder / "raw/training", 1, in_plane=(64, 56), depth=3)
    # The cache has copies of files beside the rules, which some jobs read.
    keep = ("--skip-script-cleanup", "--runtime-source-cache-path", str(folder / "cache"))
    run_workflow(folder / "raw", folder / "out", 1, *keep, target=target)
    h5 = folder / "out/work/h5/patient001/volumes"
    run_workflow(h5, folder / "from_h5", 1, *keep, target="volumes")
    scripts = sorted(folder.glob("*/.snakemake/scripts/*.py"), key=lambda path: path.stat().st_mtime)
    return {path.name.split(".")[1]: path for path in scripts}


def marked(script: Path) -> Path:
    """Write a copy of a script that prints its times and ends at its last import; returns its path."""
    preamble, _, rest = script.read_text().partition(PREAMBLE_END)
    imports = rest.partition(GUARD)[0]
    path = script.with_name(f"marked_{script.name}")
    path.write_text(preamble + PREAMBLE_END + MARK + imports + LAST_MARK)
    return path


def time_job(script: Path) -> dict[str, float]:
    """Time a job once: seconds and CPU seconds from the start of its process."""
    started = time.perf_counter()
    own, own_cpu, imports, imports_cpu = run([sys.executable, str(marked(script))]).result["times"]
    whole = run([sys.executable, str(script)])
    return {
        "own_line": own - started,
        "imports": imports - started,
        "whole": whole.seconds,
        "own_line_cpu": own_cpu,
        "imports_cpu": imports_cpu,
        "whole_cpu": whole.cpu_seconds,
    }


def outermost(lines: list[re.Match[str]]) -> Iterator[tuple[str, int]]:
    """Yield package and microseconds of each import that this project's modules or the preamble ask for."""
    inside = 0
    for line in reversed(lines):  # a module is printed below those that it imports
        depth = len(line["indent"])
        if inside and depth > inside:
            continue
        package = line["name"].split(".")[0]
        inside = 0 if package == OWN else depth
        yield package, int(line["own" if package == OWN else "total"])


def time_imports(script: Path) -> dict[str, float]:
    """Run a job, and return package -> seconds of its imports, wherever in the job they are."""
    command = [sys.executable, "-X", "importtime", str(script)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    seconds = defaultdict[str, float](float)
    for package, microseconds in outermost(list(IMPORT_LINE.finditer(printed))):
        seconds[package] += microseconds / 1e6
    return seconds


def measure(scripts: dict[str, Path], rounds: int) -> Iterator[dict[str, Any]]:
    """Time every stage in each round, and yield the best times of each."""
    times: dict[str, list[dict[str, float]]] = {stage: [] for stage in scripts}
    imports: dict[str, list[dict[str, float]]] = {stage: [] for stage in scripts}
    for _ in range(rounds):
        for stage, script in scripts.items():
            times[stage].append(time_job(script))
            imports[stage].append(time_imports(script))

    for stage in scripts:
        best = {name: min(row[name] for row in times[stage]) for name in times[stage][0]}
        packages = {name: min(row[name] for row in imports[stage]) for name in imports[stage][0]}
        longest = sorted(packages.items(), key=lambda item: item[1], reverse=True)[:SHOWN]
        yield {"stage": stage, **best, "longest_imports": dict(longest)}


def main() -> None:
    """Read the command line, measure, and print the figures of each stage in milliseconds or as JSON in seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="all", help="target of the workflow whose stages are timed")
    parser.add_argument("--stages", nargs="+", help="time only these stages")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds, of which the best times are reported")
    parser.add_argument("--json", action="store_true", help="print one JSON object per stage")
    options = parser.parse_args()
    # Snakemake gives the number of a job's threads to libraries, some of which start as many when they are imported.
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        scripts = keep_scripts(Path(folder), options.target)
        if not scripts.keys() >= set(options.stages or ()):
            parser.error(f"the stages of target {options.target} are {', '.join(scripts)}")
        chosen = {stage: scripts[stage] for stage in options.stages or scripts}
        for row in measure(chosen, options.rounds):
            if options.json:
                print(json.dumps(row))
                continue
            longest = row.pop("longest_imports")
            print(row.pop("stage").ljust(12), *(f"{name} {1000 * seconds:.0f}" for name, seconds in row.items()))
            print(" " * 12, *(f"{name} {1000 * seconds:.0f}" for name, seconds in longest.items()))


if __name__ == "__main__":
    main()
