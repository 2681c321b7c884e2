"""Every command on a page of the documentation works as a user types it at the root of the repository.

Commands of the pages in RUN are run. Others are variants, of which it is enough that they can be planned. Training
and evaluation start as a user's do; the tests' server starts the other commands and their jobs. In test_installed.py,
the demo starts as a user's does.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from acdc_medsam.formats.index import read_index_comments
from acdc_medsam.phantom.cohort import write_cohort
from fewer_slices import keep_slices
from pages import COMMANDS, NEEDS, ROOT, as_module, commands_of
from workflow_run import SERVER, Workflow

GUIDES = ("workstation", "without_embeddings", "exports", "problems", "get_started", "command_line")
RUN = ("README.md", *(f"docs/{name}.md" for name in GUIDES))
PROGRAMS_RUN = ("snakemake", "acdc-medsam verify", "acdc-medsam weights", "acdc-medsam phantom")
TESTED_ELSEWHERE = (
    *("make ", "python benchmarks/", "python docs/draw_", "python docs/generate.py"),
    *("acdc-medsam train ", "acdc-medsam evaluate ", "acdc-medsam demo", "acdc-medsam init", "acdc-medsam run"),
    *("acdc-medsam export-onnx", "acdc-medsam predict", "acdc-medsam push", "acdc-medsam view"),
    *("hf download", "rm -r copy/", "snakemake benchmark", "snakemake predict"),
)
"""See test_readme.py, test_benchmarks.py, test_benchmark.py, test_predict.py, test_installed.py, and in tests/unit
test_pages.py, train/test_fit.py, onnx_export/test_export.py, predict/test_run.py, cli/test_cli.py, hub/test_push.py
and view/test_server.py."""

TO_RUN = [
    command
    for program in PROGRAMS_RUN
    for command in commands_of(*RUN, starts=program)
    if not command.startswith(TESTED_ELSEWHERE)
]
TO_PLAN = sorted(
    {command for command in commands_of(starts="snakemake") if not command.startswith(TESTED_ELSEWHERE)} - {*TO_RUN}
)

CLUSTER = "".join((ROOT / f"docs/{name}.md").read_text() for name in ("cluster", "container"))
WRAPPED = re.findall(r"wrap='(snakemake [^']+)'", CLUSTER)
FOR_CLUSTER = sorted({*(command for command in TO_PLAN if "profiles/slurm" in command), *WRAPPED})
TESTED_BELOW = (". .venv/bin/activate", "awk ", "cp ", "python -m pytest ", ".venv/bin/python -m pytest ")
APPTAINER = """#!/bin/bash
[ "$1" = --version ] && exec echo apptainer version 1.3.0
echo "$@" >> apptainer.log
for last; do :; done
exec bash -c "$last"
"""


def run(command: list[str], folder: Path) -> str:
    """Run a command and return its output."""
    # The command must run as in a shell, not as in the `make test` that may run this test.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    process = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def clone(folder: Path) -> Path:
    """Copy the repository's own files, and link to the weights of this checkout."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(bytes.decode, files)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / "checkpoints").symlink_to(ROOT / "checkpoints")
    return folder


@pytest.fixture(scope="module")
def root(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with two tiny patients where the README puts them, and with LiteMedSAM instead of MedSAM."""
    folder = clone(tmp_path_factory.mktemp("clone"))
    write_cohort(folder / "ACDC/raw", patients=2, in_plane=(48, 40), depth=3)
    # Of three slices, the first two: one without structures and one with. Evaluation encodes the former.
    keep_slices(folder / "ACDC/raw/training/patient001", slice(2))
    write_cohort(folder / "demo/raw", patients=5, depth=6)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["encoder"]["name"] = "lite_medsam"
    config["train"]["epochs"] = 1
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an `apptainer` that runs its commands without a container."""
    folder = tmp_path_factory.mktemp("tools")
    (folder / "apptainer").write_text(APPTAINER)
    (folder / "apptainer").chmod(0o755)
    # Apptainer installs this link too: earlier versions of Snakemake call it by its older name.
    (folder / "singularity").symlink_to("apptainer")
    return folder


@pytest.fixture(scope="module")
def demo(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clone after `make demo` with fewer and smaller patients, and what it has printed."""
    if not (ROOT / ".venv/.ready").exists():
        pytest.skip("no .venv in this checkout; `make test` makes it")
    folder = clone(tmp_path_factory.mktemp("demo"))
    program = folder / ".venv/bin/acdc-medsam"
    program.parent.mkdir(parents=True)
    start = f'"{SERVER.python()}" "{ROOT / ".venv/bin/acdc-medsam"}"'
    program.write_text(f'#!/bin/sh\nPYTHONPATH="$PWD/workflow/scripts" exec {start} "$@"\n')
    program.chmod(0o755)
    (folder / ".venv/.ready").touch()
    for name in ("constraints.txt", "pyproject.toml"):  # so that make considers the environment up to date
        os.utime(folder / name, (0, 0))
    return folder, run(["make", "demo", "PATIENTS=--patients 2 --depth 3"], folder)


def test_the_pages_have_the_commands_that_are_tested() -> None:
    assert {"snakemake --cores 16 --resources gpu=1", "acdc-medsam verify data/ACDC"} <= set(commands_of("README.md"))
    assert len(TO_RUN) >= 14 and len(TO_PLAN) >= 10


def test_every_command_is_tested_or_says_what_it_needs() -> None:
    tested = ("snakemake", *PROGRAMS_RUN, *TESTED_ELSEWHERE, *TESTED_BELOW)
    assert [command for command in COMMANDS if not command.needs and not command.text.startswith(tested)] == []
    assert {command.needs for command in COMMANDS} - {""} <= NEEDS


# The complete run comes first, because the other commands need what it makes.
@pytest.mark.parametrize("command", sorted(TO_RUN, key=lambda command: not command.startswith("snakemake --cores")))
def test_a_command_works(root: Path, command: str) -> None:
    # The clone's own package, as in an environment that was made in the clone.
    arguments = as_module(command).replace("medsam_vit_b", "lite_medsam")
    output = run(["bash", "-c", f'PYTHONPATH="$PWD/workflow/scripts" "{SERVER.python()}" {arguments}'], root)
    if command.startswith("acdc-medsam run"):
        assert "Nothing to be done" in output, "it does what the complete run before it has done"
    elif "--cores" in command:
        assert "report: data/ACDC/report.html" in output
    if "evaluate" in command:
        planned = run([SERVER.python(), "-m", "snakemake", "--cores", "2", "--dry-run"], root)
        jobs = set(re.findall(r"^(\w+) +\d+$", planned, re.MULTILINE)) - {"total"}
        assert jobs == {"write_report", "write_provenance", "all"}, (
            "only the report and what lists it are made again, with the results"
        )


@pytest.mark.parametrize("command", sorted({*TO_PLAN} - {*FOR_CLUSTER}))
def test_a_variant_can_be_planned(root: Path, command: str) -> None:
    run(["bash", "-c", f'"{SERVER.python()}" {as_module(command)} --dry-run'], root)


@pytest.mark.parametrize("command", FOR_CLUSTER)
def test_a_command_for_a_cluster_can_be_planned(root: Path, tools: Path, command: str) -> None:
    """The tests in tests/slurm run the jobs."""
    command = command.replace("medsam_vit_b", "lite_medsam").replace("/shared/ACDC", "ACDC").replace("/shared/", "")
    run(["bash", "-c", f'PATH="{tools}:$PATH" "{SERVER.python()}" {as_module(command)} --dry-run'], root)


def test_a_copy_is_verified(root: Path) -> None:
    commands = [command.text for command in COMMANDS if command.page == "docs/cloud.md" and not command.needs]
    copy, verify = (command.replace("/shared/prepared/", "") for command in commands if "copy" in command)
    output = run(["bash", "-c", f'{copy} && "{SERVER.python()}" {as_module(verify)}'], root)
    assert "match provenance.json" in output


def test_tests_named_on_a_page_exist() -> None:
    arguments = [command.partition(" -m pytest ")[2] for command in commands_of() if " -m pytest " in command]
    collect = f'"{SERVER.python()}" -m pytest {" ".join(arguments)} --collect-only --quiet'
    assert "tests collected" in run(["bash", "-c", collect], ROOT)


def test_the_speed_of_embedding_is_read_from_the_logs(root: Path) -> None:
    command = re.search(r"^awk .*", CLUSTER, re.MULTILINE)
    assert command is not None
    assert re.fullmatch(r"[\d.]+ slices per second\n", run(["bash", "-c", command[0]], root))


def test_every_file_named_for_a_cluster_exists() -> None:
    named = re.findall(r"(?:profiles|envs)/[\w.-]+(?:/[\w.-]+\w)?|Dockerfile", CLUSTER)
    assert len(set(named)) >= 5
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_jobs_run_in_the_container(workflow: Workflow, tools: Path) -> None:
    """Use an `apptainer` that logs its arguments and runs the command."""
    workflow.served = False
    workflow.environment = {**os.environ, "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    workflow.run("--sdm", "apptainer", "--apptainer-args=--nv", "--", "work/h5/patient001/index.tsv")
    call = (workflow.folder / "apptainer.log").read_text()
    assert call.startswith("exec ") and " --nv " in call and f" {ROOT}/acdc-medsam.sif " in call


def test_make_demo(demo: tuple[Path, str]) -> None:
    folder, output = demo
    assert re.search(
        r"^\d+ slices in demo/out/data/ACDC; report: demo/out/data/ACDC/report\.html$", output, re.MULTILINE
    )
    assert read_index_comments(folder / "demo/out/work/accepted.tsv").notes == ("19 checks passed",)


def test_the_tutorial_works(demo: tuple[Path, str]) -> None:
    """Its commands in their order, after `make demo`."""
    first, activate, *commands = [command.text for command in COMMANDS if command.page == "docs/tutorial.md"][:5]
    assert (first, activate) == ("make demo", ". .venv/bin/activate")
    plan, copy, verify = commands
    planned = run(["bash", "-c", f'"{sys.executable}" {as_module(plan)}'], demo[0])
    verified = run(["bash", "-c", f'{copy} && "{sys.executable}" {as_module(verify)}'], demo[0])
    jobs = set(re.findall(r"^(\w+) +\d+$", planned, re.MULTILINE))
    page = (ROOT / "docs/tutorial.md").read_text()
    assert jobs == set(re.findall(r"^(\w+) +\d+$", page, re.MULTILINE))
    assert re.fullmatch(r"demo/out/copy: all \d+ files match provenance.json\n", verified)
