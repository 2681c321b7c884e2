"""Each workaround does what it is for, and is still needed.

Where a test named ``..._is_still_needed`` fails, Snakemake has mended what the workaround is for: remove the function
once the lowest version that pyproject.toml admits is one that has no need of it.
"""

import logging
import os
import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from acdc_medsam.errors import ConfigError
from acdc_medsam.runtime import snakemake_workarounds as workarounds
from acdc_medsam.runtime.code_hash import PACKAGE
from workflow_run import SERVER

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]

# Two jobs, the first of which imports a package that is installed and that lies beside its script too.
SNAKEFILE = """
import threading
from snakemake.exceptions import WorkflowError

start, timers = threading.Timer.start, []

def count(timer):
    timers.append(timer)
    start(timer)

threading.Timer.start = count

rule first:
    output: "first.txt"
    script: "scripts/first.py"

rule second:
    input: "first.txt"
    output: touch("second.txt")

rule other:
    output: touch("other.txt")

def refuse(wildcards):
    raise WorkflowError("the message")

rule refused:
    input: refuse
    output: touch("refused.txt")

onsuccess:
    print("timers:", len(timers))
"""
SCRIPT = """
import nibabel
from pathlib import Path
Path(snakemake.output[0]).write_text(nibabel.__file__)
"""


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """The folder of a workflow that does nothing against Snakemake."""
    (tmp_path / "scripts/nibabel").mkdir(parents=True)
    (tmp_path / "scripts/nibabel/__init__.py").touch()
    (tmp_path / "scripts/first.py").write_text(SCRIPT)
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


def run(folder: Path, *arguments: str, path: str | None = None) -> str:
    """Run Snakemake and return what it prints; without a search path for Python, as a fork of the tests' server.

    The jobs of such a fork find libraries imported already, so a test of what a job imports gives a search path.
    """
    python = SERVER.python() if path is None else sys.executable
    command = [python, "-m", "snakemake", "--cores", "1", *arguments]
    environment = {**os.environ, "PYTHONPATH": path or ""}
    process = subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return process.stdout


def test_put_own_code_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    workarounds.put_own_code_first()
    assert os.environ["PYTHONPATH"] == str(PACKAGE.parent)
    monkeypatch.setenv("PYTHONPATH", "/other")
    workarounds.put_own_code_first()
    assert os.environ["PYTHONPATH"] == f"{PACKAGE.parent}{os.pathsep}/other"


def test_own_code_first_and_no_rate_limit_are_still_needed(workflow: Path) -> None:
    output = run(workflow, "second.txt", path="")
    own = workflow / "scripts/nibabel/__init__.py"
    assert Path((workflow / "first.txt").read_text()) != own, "Snakemake puts the script's folder first"
    timers = re.search(r"timers: (\d+)", output)
    assert timers is not None and int(timers[1]) > 1, "Snakemake no longer starts a timer for each job"

    (workflow / "first.txt").unlink()
    run(workflow, "first.txt", path=str(workflow / "scripts"))
    assert Path((workflow / "first.txt").read_text()) == own, "PYTHONPATH is no longer a way"


def test_remove_rate_limit() -> None:
    scheduler = SimpleNamespace(job_rate_limiter=object())
    workarounds.remove_rate_limit(scheduler)
    assert scheduler.job_rate_limiter is None


def test_make_again() -> None:
    dag = SimpleNamespace(forcefiles={"a"}, needrun_jobs=list)
    workarounds.make_again(dag, [Path("work/b"), Path("c")])
    assert dag.forcefiles == {"a", "work/b", "c"}


def test_make_again_is_still_needed(workflow: Path) -> None:
    assert "other" in run(workflow, "--dry-run", "--forcerun", "other.txt", "--", "first.txt"), (
        "--forcerun makes nothing a target any more"
    )
    assert "other" not in run(workflow, "--dry-run", "--", "first.txt")


def test_is_planned() -> None:
    import snakemake.api  # takes a second, which other tests need not wait for

    jobs = [SimpleNamespace(output=[f"{name}.tsv"]) for name in ("embed", "split")]
    dag = SimpleNamespace(forcefiles=set(), needrun_jobs=lambda: jobs)
    assert workarounds.is_planned(dag, "embed.tsv") and not workarounds.is_planned(dag, "publish.tsv")
    assert callable(snakemake.dag.DAG.needrun_jobs)


def test_submit_without_waiting() -> None:
    plugin = ModuleType("plugin")
    workarounds.submit_without_waiting(plugin)
    assert plugin.pending_jobs_for_rule(None, "normalize") == 0
    workarounds.submit_without_waiting(None)


@pytest.mark.parametrize("given", [1, 2])
def test_submit_without_waiting_is_still_needed(given: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is given one or two of three jobs that are ready, and would wait for the third."""
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm", reason="the extra 'slurm' is not installed")
    monkeypatch.setattr(plugin, "pending_jobs_for_rule", plugin.pending_jobs_for_rule)
    jobs = [SimpleNamespace(rule=SimpleNamespace(name="normalize"), is_group=lambda: False) for _ in range(3)]
    submitted = list[object]()
    executor = SimpleNamespace(
        _main_event_loop=None,
        array_jobs={"normalize"},
        max_array_size=40,
        workflow=SimpleNamespace(dag=SimpleNamespace(ready_jobs=jobs)),
        logger=logging.getLogger("run"),
        _submit_job=submitted.append,
        _submit_array_jobs=submitted.extend,
    )
    run_jobs: Any = plugin.Executor.run_jobs
    run_jobs(executor, jobs[:given])
    assert submitted == [], "the plugin submits what it is given"
    workarounds.submit_without_waiting(plugin)
    run_jobs(executor, jobs[:given])
    assert submitted == jobs[:given]


@pytest.mark.parametrize(("resource", "limit"), [(None, None), (3, 3), (SimpleNamespace(value=3), 3)])
def test_resource_limit(resource: object, limit: int | None) -> None:
    assert workarounds.resource_limit(resource) == limit


def test_resource_limit_is_still_needed() -> None:
    assert "snakemake>=9.12" in PROJECT["dependencies"], "look whether all versions from the bound on have objects"


def test_show_message_alone(caplog: pytest.LogCaptureFixture) -> None:
    @workarounds.show_message_alone(logging.getLogger("run"))
    def refuse(name: str) -> str:
        if name == "none":
            raise ConfigError("the message")
        return name

    assert refuse("lite_medsam") == "lite_medsam"
    for _ in range(2):
        with pytest.raises(SystemExit) as stop:
            refuse("none")
        assert stop.value.code == 1
    assert caplog.messages == ["the message"] * 2


def test_show_message_alone_is_still_needed(workflow: Path) -> None:
    output = run(workflow, "refused.txt")
    assert "the message" in output
    assert "InputFunctionException in rule refused" in output, "the message is shown alone"


def test_run_hooks_of_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workarounds, "_MODULE_HOOKS", {})
    called: list[str] = []
    workflow = SimpleNamespace(_onstart=called.append, _onsuccess=called.append)
    for output, name in (("a", "replaced"), ("a", "first"), ("b", "second")):
        workarounds.run_hooks_of_module(
            workflow, output, partial(called.append, f"{name} start"), partial(called.append, f"{name} end")
        )
    workflow._onstart("own start")
    workflow._onsuccess("own end")
    assert called == ["own start", "first start", "second start", "own end", "first end", "second end"]


def test_run_hooks_of_module_is_still_needed(workflow: Path) -> None:
    module = workflow.rename(workflow.with_name("module"))
    workflow.mkdir()
    (workflow / "Snakefile").write_text(
        "onsuccess:\n    print('own end')\n"
        f"module other:\n    snakefile: '{module}/Snakefile'\nuse rule * from other as other_*\n"
    )
    output = run(workflow, "--", "other.txt")
    assert ("own end" in output) != ("timers:" in output)


def test_is_module() -> None:
    assert workarounds.is_module(SimpleNamespace(namespace="acdc"))
    assert not workarounds.is_module(SimpleNamespace(namespace=None))
