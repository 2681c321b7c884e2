"""Time the workflow from NIfTI to PNG on a whole cohort, and the loops that a user would otherwise write.

    python benchmarks/cohort.py --patients 100 --cores 2
    python benchmarks/cohort.py --raw ACDC/raw --patients 30 --rounds 3

The patients are synthetic ones of ACDC's size, or those of a raw folder, which are repeated under other numbers if it
holds fewer than are asked for.

The loops are plain: one process, one slice after another, each library's default settings. One of them writes H5
volumes and slices first, the other writes PNG directly. ``useful_seconds`` is the CPU time of the workflow's own
functions on the same patients in one process, without start-up. The overhead is the rest of the time that ``cores``
processors spent on the workflow.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image
from skimage.exposure import cumulative_distribution

from child import Finished, run, run_child

ROOT = Path(__file__).parents[1]
COHORTS = Path(tempfile.gettempdir()) / "acdc-medsam-cohorts"
"""Folder of the synthetic patients, which are written once and kept."""

Volume = npt.NDArray[Any]


def make_phantoms(patients: int) -> Path:
    """Write the given number of synthetic patients of ACDC's size, the same ones each time; returns their folder."""
    from acdc_medsam.phantom.cohort import write_cohort

    folder = COHORTS / str(patients)
    if not (folder / "complete").exists():
        print(f"drawing {patients} patients", file=sys.stderr)
        write_cohort(folder, patients)
        (folder / "complete").touch()
    return folder


def copy_patient(source: Path, target: Path, copy: Callable[[Path, Path], object] = shutil.copyfile) -> None:
    """Copy a patient's annotated frames and Info.cfg to a folder of another number, by which the files are named."""
    target.mkdir(parents=True)
    for path in (*source.glob("*_frame*"), *source.glob("Info.cfg")):
        copy(path, target / path.name.replace(source.name, target.name))


def repeat_patients(raw: Path, patients: int, folder: Path) -> Path:
    """Copy the patients of a raw folder to ``folder`` until there are as many as asked for; returns ``folder``.

    They are numbered from 1 on, and stay in ``training`` or ``testing``.
    """
    sources = sorted(raw.glob("*/patient*/"))
    if not sources:
        sys.exit(f"no patients in {raw}/training or {raw}/testing")
    for number, source in zip(range(1, patients + 1), cycle(sources), strict=False):
        copy_patient(source, folder / source.parent.name / f"patient{number:03d}")
    return folder


def find_frames(raw: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the image and label of each frame."""
    for label in sorted(raw.glob("*/patient*/*_gt.nii.gz")):
        yield label.with_name(label.name.replace("_gt", "")), label


def read_normalized(image: Path, label: Path) -> tuple[Volume, Volume]:
    """Read the image and label of a frame; the image is clipped at the 99th percentile and scaled to [0, 1]."""
    voxels = np.asarray(nib.load(image).dataobj).transpose(2, 1, 0)
    cdf, centers = cumulative_distribution(voxels)
    top = centers[np.argmax(cdf >= 0.99)]
    scaled = (np.clip(voxels, voxels.min(), top) - voxels.min()) / (top - voxels.min())
    return scaled.astype(np.float32), np.asarray(nib.load(label).dataobj).transpose(2, 1, 0).astype(np.uint8)


def write_pngs(image: Volume, label: Volume, name: str, out: Path) -> None:
    """Write one slice's image and mask at 1024 x 1024."""
    gray = Image.fromarray((image * 255).astype(np.uint8))
    gray.resize((1024, 1024), Image.Resampling.BILINEAR).save(out / "images" / f"{name}.png")
    Image.fromarray(label).resize((1024, 1024), Image.Resampling.NEAREST).save(out / "masks" / f"{name}.png")


def make_folders(out: Path, *names: str) -> None:
    """Make folders."""
    for name in names:
        (out / name).mkdir(parents=True)


def direct_loop(raw: Path, out: Path) -> dict[str, Any]:
    """Convert NIfTI to PNG."""
    make_folders(out, "images", "masks")
    for image_path, label_path in find_frames(raw):
        for z, (image, label) in enumerate(zip(*read_normalized(image_path, label_path), strict=True)):
            if label.any():
                write_pngs(image, label, f"{image_path.name[:-7]}_slice_{z}", out)
    return {}


def h5_loop(raw: Path, out: Path) -> dict[str, Any]:
    """Convert NIfTI to H5 volumes and slices, and the slices to PNG."""
    make_folders(out, "volumes", "slices", "images", "masks")
    for image_path, label_path in find_frames(raw):
        image, label = read_normalized(image_path, label_path)
        name = image_path.name[:-7]
        for path, one_image, one_label in (
            (out / "volumes" / f"{name}.h5", image, label),
            *((out / "slices" / f"{name}_slice_{z}.h5", image[z], label[z]) for z in range(len(image))),
        ):
            with h5py.File(path, "w") as file:
                file.create_dataset("image", data=one_image, compression="gzip")
                file.create_dataset("label", data=one_label, compression="gzip")

    for path in sorted((out / "slices").iterdir()):
        with h5py.File(path) as file:
            image = file["image"][:]
            label = file["label"][:]
        if label.any():
            write_pngs(image, label, path.stem, out)
    return {}


def useful_work(raw: Path, out: Path) -> dict[str, Any]:
    """Do the work of the workflow's jobs in one process; returns its CPU seconds."""
    from acdc_medsam.stages.normalize import normalize_patient
    from acdc_medsam.stages.render import render_patient

    started = time.process_time()
    for source in sorted(raw.glob("*/patient*")):
        h5, png = (out / kind / source.name / "index.tsv" for kind in ("h5", "png"))
        normalize_patient(source, h5, percentile=99.0, on_invalid="stop")
        render_patient(h5, png, png.with_name("slices.tsv"), size=1024, keep_empty=False)
    return {"cpu_seconds": time.process_time() - started}


MEASUREMENTS = {"direct": direct_loop, "h5": h5_loop, "useful": useful_work}


def run_workflow(
    raw: Path, out: Path, cores: int, *arguments: str, target: str = "images", **config: object
) -> Finished:
    """Run the workflow up to a target."""
    out.mkdir(parents=True, exist_ok=True)
    settings = {"raw": str(raw), "output": str(out), "encoder": {"name": "none"}, **config}
    (out / "config.yaml").write_text(yaml.safe_dump(settings))
    snakemake = [sys.executable, "-m", "snakemake", target, "--snakefile", str(ROOT / "Snakefile")]
    options = ["--configfile", str(out / "config.yaml"), "--cores", str(cores), "--directory", str(out)]
    return run([*snakemake, *options, *arguments])


def count_bytes(folder: Path) -> int:
    """Sum the sizes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def read_job_memory(out: Path) -> list[float]:
    """Read the peak memory of each job in MiB from its benchmark file; 0 if the job ended before it was measured."""
    tables = [path.read_text().splitlines() for path in (out / "work/benchmarks").rglob("*.tsv")]
    jobs = [dict(zip(*(line.split("\t") for line in table), strict=True)) for table in tables]
    return [0 if job["max_rss"] == "NA" else float(job["max_rss"]) for job in jobs]


def run_each(raw: Path, cores: int, folder: Path) -> dict[str, Finished]:
    """Run the workflow, the workflow again, and every other measurement, each in a process of its own."""
    finished = {"workflow": run_workflow(raw, folder / "workflow", cores)}
    # With nothing left to do, a run takes the time of Snakemake's own work.
    finished["again"] = run_workflow(raw, folder / "workflow", cores)
    for name in MEASUREMENTS:
        finished[name] = run_child(__file__, {"name": name, "raw": str(raw), "out": str(folder / name)})
    return finished


def compare(raw: Path, cores: int, rounds: int) -> dict[str, Any]:
    """Time everything in turns, and report the best time of each."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for turn in range(rounds):
            folder = Path(temporary) / str(turn)
            children = run_each(raw, cores, folder)
            for name, finished in children.items():
                seconds.setdefault(name, []).append(finished.seconds)
                print(f"round {turn + 1}: {name} {finished.seconds:.1f} s", file=sys.stderr)
        memory = read_job_memory(folder / "workflow")
        written = count_bytes(folder / "workflow")

    wall = min(seconds["workflow"])
    useful = children["useful"].result["cpu_seconds"]
    patients = len(list(raw.glob("*/patient*")))
    return {
        "patients": patients,
        "cores": cores,
        "seconds": wall,
        "seconds_per_patient": wall / patients,
        "cpu_seconds": children["workflow"].cpu_seconds,
        "useful_seconds": useful,
        "overhead_share": 1 - useful / (wall * cores),
        "nothing_to_do_seconds": min(seconds["again"]),
        "jobs": len(memory),
        "peak_memory_mib": max(*memory, children["useful"].peak_memory_mib),
        "snakemake_memory_mib": children["workflow"].peak_memory_mib,
        "megabytes_written": written / 1e6,
        "h5_loop_seconds": min(seconds["h5"]),
        "direct_loop_seconds": min(seconds["direct"]),
        "h5_loop_cpu_seconds": children["h5"].cpu_seconds,
        "direct_loop_cpu_seconds": children["direct"].cpu_seconds,
        "ratio_to_h5_loop": min(seconds["h5"]) / wall,
        "ratio_to_direct_loop": min(seconds["direct"]) / wall,
    }


def main() -> None:
    """Read the command line, compare, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100, help="number of patients")
    parser.add_argument("--raw", type=Path, help="folder with training/ and testing/; synthetic patients by default")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="number of rounds, of which the best times are reported")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child = json.loads(options.child)
        print(json.dumps(MEASUREMENTS[child["name"]](Path(child["raw"]), Path(child["out"]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        real = options.raw and repeat_patients(options.raw, options.patients, Path(folder).resolve())
        figures = compare(real or make_phantoms(options.patients), options.cores, options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:<24} {value:.4g}" if isinstance(value, float) else f"{name:<24} {value}")


if __name__ == "__main__":
    main()
