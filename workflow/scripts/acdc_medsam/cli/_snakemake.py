"""Run Snakemake on the workflow that this package belongs to, in the current folder."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from acdc_medsam.project import PROJECT

CONFIG = Path("config.yaml")
"""Configuration in the current folder, which overlays the defaults."""


def run_snakemake(arguments: Sequence[str]) -> NoReturn:
    """Become a Snakemake process.

    Args:
        arguments: Targets and options of Snakemake, as :func:`complete_arguments` takes them.
    """
    command = [sys.executable, "-m", "snakemake", *complete_arguments(arguments)]
    sys.stdout.flush()
    # Snakemake then has this process's terminal and gets its signals, and its exit status is this command's.
    os.execv(command[0], command)  # noqa: S606


def complete_arguments(arguments: Sequence[str]) -> list[str]:
    """Add the workflow and its configuration to arguments of Snakemake.

    Args:
        arguments: Targets and options. ``--profile`` may name a profile of the workflow, such as ``slurm``.

    Returns:
        All arguments. Those that are added come first and end with an option that takes one value, so that a target
        that follows them is none of their values.
    """
    given = [part for argument in arguments for part in _split_option(argument)]
    for position, name in enumerate(given[1:], start=1):
        profile = PROJECT / "profiles" / name
        if given[position - 1] == "--profile" and not Path(name).exists() and (profile / "config.yaml").is_file():
            given[position] = str(profile)

    added = ["--snakefile", str(PROJECT / "Snakefile")]
    if CONFIG.is_file() and not CONFIG.samefile(PROJECT / CONFIG):
        options = [position for position, name in enumerate(given) if name in ("--configfile", "--configfiles")]
        if options:
            # Of two such options only the last one counts; of its files, a later one overrides an earlier one.
            given.insert(options[-1] + 1, str(CONFIG))
        else:
            added = ["--configfile", str(CONFIG), *added]
    return [*added, *given]


def _split_option(argument: str) -> list[str]:
    """Split ``--profile=slurm`` and ``--configfile=mine.yaml`` into option and value."""
    name, equals, value = argument.partition("=")
    return [name, value] if equals and name in ("--profile", "--configfile", "--configfiles") else [argument]
