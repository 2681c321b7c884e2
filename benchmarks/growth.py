"""Time the workflow and its planning alone on cohorts of growing size, and draw the curves.

    python benchmarks/growth.py --patients 10 100 1000 --plan 10 100 1000 10000 --picture docs/growth.svg

The volumes are tiny, so that the workflow's own cost is measured. Ten patients are drawn; the others are hard links to
them under other numbers. ``per_patient`` does not include the time of a run with nothing to do. On a machine that is
busy with other work, the CPU seconds are more reliable.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from acdc_medsam.phantom.cohort import write_patient
from cohort import copy_patient, run_workflow

DRAWN = 10
"""Number of patients that are drawn; the others are links to them."""


def write_many(folder: Path, patients: int) -> Path:
    """Write the given number of tiny patients to ``folder/training``; returns ``folder``."""
    for number in range(1, patients + 1):
        if number <= DRAWN:
            write_patient(folder / "training", number, in_plane=(48, 40), depth=4)
            continue
        drawn = (number - 1) % DRAWN + 1
        copy_patient(*(folder / f"training/patient{n:03d}" for n in (drawn, number)), copy=os.link)
    return folder


def measure(patients: int, cores: int, plan_only: bool) -> dict[str, Any]:
    """Plan the run of a cohort and, unless ``plan_only``, time it."""
    with tempfile.TemporaryDirectory() as name:
        raw = write_many(Path(name) / "raw", patients)
        out = Path(name) / "out"
        # Planning is all that a dry run does.
        plan = run_workflow(raw, out, cores, "--dry-run", "--quiet", "all")
        row = {"patients": patients, "plan_seconds": plan.seconds, "plan_memory_mib": plan.peak_memory_mib}
        if plan_only:
            return row

        whole = run_workflow(raw, out, cores)
        again = run_workflow(raw, out, cores)
        return {
            **row,
            "seconds": whole.seconds,
            "memory_mib": whole.peak_memory_mib,
            "nothing_to_do_seconds": again.seconds,
            "per_patient": (whole.seconds - again.seconds) / patients,
            "cpu_per_patient": (whole.cpu_seconds - again.cpu_seconds) / patients,
        }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the time per patient of a run, and the time and memory of its planning."""
    import matplotlib.pyplot as plt

    runs = [row for row in rows if "seconds" in row]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for name, style in (("per_patient", "o-"), ("cpu_per_patient", "s--")):
        values = [1000 * row[name] for row in runs]
        left.plot([row["patients"] for row in runs], values, style, label="time" if style == "o-" else "CPU time")
    left.legend()
    left.set(title="a run up to the images", ylabel="ms per patient")

    right.plot([row["patients"] for row in rows], [row["plan_seconds"] for row in rows], "o-", label="seconds")
    right.plot([row["patients"] for row in rows], [row["plan_memory_mib"] / 1024 for row in rows], "s--", label="GiB")
    right.set(title="planning (--dry-run)", yscale="log")
    right.legend()

    for axes in (left, right):
        axes.set(xscale="log", xlabel="patients", ylim=(0 if axes is left else None, None))
        axes.grid(alpha=0.3)
    figure.savefig(path)


def main() -> None:
    """Read the command line, measure, and print one JSON object per cohort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="*", default=[10, 100, 1000], help="cohorts to run and to plan")
    parser.add_argument("--plan", type=int, nargs="*", default=[10000], help="cohorts to plan only")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--picture", type=Path, help="file to draw the curves to")
    options = parser.parse_args()
    rows = []
    for patients, plan_only in [(n, False) for n in options.patients] + [(n, True) for n in options.plan]:
        rows.append(measure(patients, options.cores, plan_only))
        print(json.dumps(rows[-1]), flush=True)
    if options.picture:
        draw(rows, options.picture)


if __name__ == "__main__":
    main()
