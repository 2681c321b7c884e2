"""Everything that this workflow does to the insides of Snakemake, or because of them, in one place.

Each function says which version it is for and, where there is one, which upstream issue is about it. For each function,
a test of the same name looks whether the installed version still needs it. This package never imports Snakemake:
the functions get its objects from the rules.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from acdc_medsam.errors import AcdcError
from acdc_medsam.project import IS_INSTALLED, PACKAGE

# What the functions below touch of Snakemake's objects, and nothing else of them.


class Job(Protocol):
    """A job.

    Attributes:
        output: Files that the job makes.
    """

    output: Iterable[str]


class Dag(Protocol):
    """``workflow.dag``, the graph of jobs.

    Attributes:
        forcefiles: Files that are made again even if they seem up to date.
    """

    forcefiles: set[str]

    def needrun_jobs(self) -> Iterable[Job]:
        """Return the jobs that the run will do."""
        ...


class Scheduler(Protocol):
    """``workflow.scheduler``."""

    job_rate_limiter: object


class Modifier(Protocol):
    """``workflow.modifier``, which says how a module is imported."""

    def is_main_snakefile(self) -> bool:
        """Return whether the workflow is not a module of another one."""
        ...


class Workflow(Protocol):
    """``workflow``."""

    modifier: Modifier
    _onstart: Callable[[Any], object]
    _onsuccess: Callable[[Any], object]


_MODULE_HOOKS: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}
"""Output folder of each imported workflow -> its hooks."""


def run_hooks_of_module(
    workflow: Workflow, output: str, onstart: Callable[[], object], onsuccess: Callable[[], object]
) -> None:
    """Run the hooks of this workflow after those of a workflow that imports it.

    For Snakemake 9.27, which runs the hooks of the main workflow only. A hook that the main workflow defines below the
    import replaces these.

    Args:
        workflow: The workflow, while it is being read. It is read again for each ``use rule``.
        output: Output folder, which tells the imports apart.
        onstart: Hook that runs before the first job.
        onsuccess: Hook that runs after the last job.
    """
    if workflow.modifier.is_main_snakefile():
        return
    if not _MODULE_HOOKS:
        before = workflow._onstart, workflow._onsuccess
        workflow._onstart = lambda log: [before[0](log), *(hooks[0]() for hooks in _MODULE_HOOKS.values())]
        workflow._onsuccess = lambda log: [before[1](log), *(hooks[1]() for hooks in _MODULE_HOOKS.values())]
    _MODULE_HOOKS[output] = (onstart, onsuccess)


def put_own_code_first() -> None:
    """Let every Python process that this one starts find this package before an installed one.

    For Snakemake 9.27. It adds the folder of a script to the end of ``sys.path``, so that a package in site-packages
    hides the one beside the script (the order is described in https://github.com/snakemake/snakemake/issues/840).
    PYTHONPATH comes before both. Jobs inherit it, and a job on a cluster calls this too when it reads the workflow.
    Snakemake removes PYTHONPATH under ``--sdm conda``, where the script's folder is enough, because no environment of
    ``envs/`` has the package.

    An installed package is where jobs look anyway. To put all of site-packages first could hide Python's own modules.
    """
    if IS_INSTALLED:
        return
    before = os.environ.get("PYTHONPATH")
    own = str(PACKAGE.parent)
    os.environ["PYTHONPATH"] = own if not before else os.pathsep.join([own, before])


def make_again(dag: Dag, files: Iterable[Path]) -> None:
    """Run the jobs that make some files, if the plan contains these jobs.

    For Snakemake 9.27, which has only ``--forcerun`` for this, and makes targets of the files that it is given.

    Args:
        dag: The graph of jobs, while it is being built.
        files: Outputs of the jobs.
    """
    dag.forcefiles.update(map(str, files))


def is_planned(dag: Dag, file: str) -> bool:
    """Return whether the run will do the job that makes a file.

    For Snakemake 9.27, whose ``onstart`` is not told what is planned.
    """
    return any(file in job.output for job in dag.needrun_jobs())


def submit_without_waiting(plugin: ModuleType | None) -> None:
    """Let the Slurm plugin submit the jobs that it is given, as one job or an array, without waiting for more.

    For snakemake-executor-plugin-slurm 2.8 (https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/473).
    For rules of ``slurm-array-jobs`` it waits while more jobs are ready than it is given, as with ``--jobs 50`` or
    ``--scheduler-subsample``. It is never given the jobs that it holds back again, and the run does not end.

    Args:
        plugin: The plugin's module; None where it is not in use.
    """
    if plugin is not None:
        plugin.pending_jobs_for_rule = lambda dag, rule: 0  # type: ignore[attr-defined]


def remove_rate_limit(scheduler: Scheduler) -> None:
    """Let the scheduler start jobs as soon as there is room for them, even more than 100 a second.

    For Snakemake 9.27. To limit the number of jobs per time, the scheduler starts a timer whenever it wakes up, and the
    timer wakes it up again a second later. Each job adds such a chain of timers, so each job costs more than the one
    before it. No option removes the limit.

    Args:
        scheduler: The scheduler, before the first job.
    """
    scheduler.job_rate_limiter = None


def resource_limit(resource: Any) -> int | None:
    """Return the limit that ``--resources`` sets, or None.

    For Snakemake 9.12 to 9.27: the entries of ``workflow.global_resources`` are numbers in some of these versions and
    objects that hold a number in others.
    """
    limit: int | None = getattr(resource, "value", resource)
    return limit


@contextmanager
def show_message_alone(logger: logging.Logger) -> Iterator[None]:
    """End the run with the message of an AcdcError alone; to be used around calls or as a decorator.

    For Snakemake 9.27, which shows lines of the rules, or a traceback, with every exception, its own included.

    Args:
        logger: Snakemake's logger.
    """
    try:
        yield
    except AcdcError as error:
        logger.error(str(error))
        sys.exit(1)
