"""The documented benchmarks run, with as little work as possible."""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import attention
import cohort
from acdc_medsam.acdc.cohort import find_cohort
from pages import COMMANDS, ROOT
from workflow_run import SERVER

BENCHMARKS = re.findall(r"^python (benchmarks/\S+)", (ROOT / "docs/benchmarks.md").read_text(), re.MULTILINE)
DOCUMENTED = sorted(
    {command.text.removeprefix("python ") for command in COMMANDS if command.text.startswith("python benchmarks/")}
)
LITTLE = {
    "benchmarks/encoder.py": "--model lite_medsam --device cpu --batch 1 --threads 2 --rounds 1 --matrix 1024 --json",
    "benchmarks/embed.py": "--model lite_medsam --device cpu --threads 1 --slices 1 --beside loop reference --json",
    "benchmarks/attention.py": "--device cpu --batch 1 --heads 1 --repeat 1 --ways blocked folded",
}


def run(command: str, served: bool = True) -> str:
    """Run a benchmark and its processes as forks of the server, unless the test looks at their start or memory."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "workflow/scripts")}
    python = SERVER.python() if served else sys.executable
    process = subprocess.run([python, *shlex.split(command)], cwd=ROOT, env=env, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_every_script_is_documented() -> None:
    scripts = {path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks").glob("*.py")}
    helpers = {f"benchmarks/{name}.py" for name in ("child", "finished_cohort", "reference")}
    assert {*BENCHMARKS} == {command.split()[0] for command in DOCUMENTED} == scripts - helpers


def test_documented_options_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--help"])
    known = dict[str, str]()
    for script in {command.split()[0] for command in DOCUMENTED}:
        with pytest.raises(SystemExit):
            runpy.run_path(str(ROOT / script), run_name="__main__")
        known[script] = capsys.readouterr().out
        assert known[script].startswith("usage: ")
    for command in DOCUMENTED:
        script, *options = shlex.split(command)
        assert all(option in known[script] for option in options if option.startswith("--"))


@pytest.mark.usefixtures("checkpoint")
def test_the_encoder_is_compared_with_its_reference() -> None:
    figures = json.loads(run(f"benchmarks/encoder.py {LITTLE['benchmarks/encoder.py']}"))
    keys = "model device threads precision seconds reference_seconds speedup matmul_share peak_memory_mib"
    assert figures.keys() >= set(keys.split())
    assert figures["relative_difference"] < 1e-5
    assert 0.05 < figures["matmul_share"] < 1.1
    assert 60 < figures["gflop"] < 80


@pytest.mark.usefixtures("checkpoint")
def test_whole_jobs_are_compared_with_loops() -> None:
    figures = json.loads(run(f"benchmarks/embed.py {LITTLE['benchmarks/embed.py']}"))
    assert figures["slices"] == 1
    assert 0 < figures["cold_start_seconds"] < figures["seconds"]
    assert min(figures["speedup"], figures["speedup_over_reference"], figures["peak_memory_mib"]) > 0


def test_real_patients_are_repeated_under_other_numbers(raw: Path, tmp_path: Path) -> None:
    present = len(list(raw.glob("*/patient*")))
    repeated = cohort.repeat_patients(raw, present + 1, tmp_path)
    first, *_, last = find_cohort(repeated).patients
    assert (last.number, last.group) == (present + 1, first.group)


def test_a_cohort_is_compared_with_plain_loops(raw: Path) -> None:
    figures = json.loads(run(f"benchmarks/cohort.py --raw '{raw}' --patients 2 --cores 2 --json", served=False))
    keys = "cores seconds useful_seconds overhead_share peak_memory_mib h5_loop_seconds direct_loop_seconds"
    assert figures.keys() >= {*keys.split(), "ratio_to_h5_loop", "ratio_to_direct_loop"}
    assert (figures["patients"], figures["jobs"]) == (2, 4)
    assert 0 < figures["useful_seconds"] < figures["seconds"]
    assert 50 < figures["peak_memory_mib"] < 250


def test_codecs_are_compared(raw: Path) -> None:
    rows = run(f"benchmarks/codec.py --raw '{raw}' --size 64 --every 1 --rounds 1 --json").splitlines()
    names = [f"{way} a PNG {kind}" for kind in ("image", "mask") for way in ("write", "read")]
    found = {row["name"]: row for row in map(json.loads, rows)}
    assert list(found) == [*names, "write an H5 volume", "unzip a NIfTI file"]
    assert all(row["items"] > 0 and row["ratio"] > 0 for row in found.values())
    assert found["unzip a NIfTI file"]["items"] == 16 and found["write an H5 volume"]["new_kb"] > 1


def test_formats_are_compared(raw: Path) -> None:
    rows = run(f"benchmarks/formats.py --raw '{raw}' --size 64 --rounds 1 --json").splitlines()
    found = {row["format"]: row for row in map(json.loads, rows)}
    assert list(found) == ["NIfTI", "H5 volume", "H5 slice", "PNG", "embedding"]
    assert [row["files_per_patient"] for row in found.values()] == [4, 2, 6, 12, 6]
    assert all(row["bytes_per_slice"] > 0 and row["ms_per_slice"] > 0 for row in found.values())
    assert found["NIfTI"]["clipped"] == found["NIfTI"]["largest_error"] == 0
    assert found["H5 volume"]["largest_error"] < 1e-6 and 0 < found["H5 volume"]["clipped"] < 0.02
    # Both sides are shorter than that of the images, so masks that are resized back are equal to the labels.
    assert {found[name]["labels_changed"] for name in ("NIfTI", "H5 volume", "H5 slice", "PNG")} == {0}
    assert 0.001 < found["PNG"]["mean_error"] < 0.1


def test_the_start_of_jobs_is_timed() -> None:
    lines = run("benchmarks/startup.py --target volumes --rounds 1 --json", served=False).splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["stage"] for row in rows} == {"normalize", "adopt"}
    for row in rows:
        assert 0 < row["own_line_cpu"] < row["imports_cpu"] and row["whole_cpu"] > 0
        assert row["longest_imports"].keys() >= {"snakemake", "numpy", "h5py"}


def test_the_report_is_timed_after_a_change_and_from_nothing(tmp_path: Path) -> None:
    figures = json.loads(run(f"benchmarks/report.py --patients 1 --folder '{tmp_path}'"))
    assert figures["slices"] > 10
    for state in ("from nothing", "nothing changed", "changed"):
        assert all(figures[state][job]["cpu_seconds"] > 0 for job in ("measure", "report"))


def test_growth_is_measured_and_drawn(tmp_path: Path) -> None:
    rows = run(f"benchmarks/growth.py --patients 2 --plan 12 --picture '{tmp_path}/growth.svg'").splitlines()
    small, large = map(json.loads, rows)
    assert (small["patients"], large["patients"]) == (2, 12)
    assert min(small["seconds"], small["nothing_to_do_seconds"]) > 0 and "seconds" not in large
    assert "<svg" in (tmp_path / "growth.svg").read_text()


def test_attentions_are_compared() -> None:
    rows = [
        json.loads(line) for line in run(f"benchmarks/attention.py {LITTLE['benchmarks/attention.py']}").splitlines()
    ]
    assert [(row["layer"], row["way"]) for row in rows] == [
        (layer, way) for layer in ("all tokens", "windows") for way in ("blocked", "folded")
    ]
    assert all(row["relative_difference"] < 1e-5 for row in rows)


@pytest.mark.parametrize("way", attention.WAYS)
def test_every_attention_is_the_same(way: str) -> None:
    inputs = attention.make_tokens(2, 6, 3, torch.float32, torch.device("cpu"))
    expected = attention.blocked_attention(*inputs)
    options = {"compiled": False} if way == "flex" else {}
    with torch.inference_mode():
        torch.testing.assert_close(attention.WAYS[way](*inputs, **options), expected, rtol=1e-4, atol=1e-5)


def test_precisions_are_compared(tmp_path: Path, checkpoint: Path) -> None:
    from PIL import Image

    for kind, value in (("images", 100), ("masks", 3)):
        (tmp_path / "train" / kind).mkdir(parents=True)
        picture = Image.new("L", (1024, 1024))
        picture.paste(value, (300, 300, 700, 700))
        picture.save(tmp_path / f"train/{kind}/one.png")
    command = f"benchmarks/precision.py --dataset '{tmp_path}' --checkpoint '{checkpoint}' --device cpu"
    exact, rough = (json.loads(line) for line in run(command).splitlines())
    assert exact["precision"] == "float32" and exact["relative_difference"] == 0
    assert 1e-4 < rough["relative_difference"] < 0.1
    assert 0 < rough["dice_LV"] <= 1
