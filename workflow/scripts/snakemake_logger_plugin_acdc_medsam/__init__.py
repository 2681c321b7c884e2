"""``snakemake --logger acdc-medsam``: a bar and one line for each stage. Snakemake's own log goes to its file alone.

Snakemake finds this package by its name. Warnings, errors and messages of the workflow are shown whole. Where the
screen is no terminal, there are the same lines without the bar.
"""

import logging
import os
import sys
import threading
import time
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

SHOWN_EVENTS = (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR, LogEvent.ERROR)
"""Events that are shown as Snakemake writes them."""

SHOWN_STARTS = ("Complete log", "Nothing to be done", "Unlocking", "Would remove", "Deleting")
"""Beginnings of those messages of Snakemake that are shown although they are no warnings."""

BAR_ABOVE = "ACDC_MEDSAM_BAR_ABOVE"
"""Environment variable that tells the jobs that the last line of the terminal has a bar."""


class LogHandler(LogHandlerBase):
    """Shows how far a run has come."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Show nothing yet."""
        # The base class of snakemake-interface-logger-plugins 1 leaves this out.
        logging.Handler.__init__(self)
        self.bar: tqdm[Any] | None = None
        self.closed = threading.Event()
        self.stopping = False
        """Whether the user has stopped the run."""
        self.totals: dict[str, int] = {}
        """Rule -> number of its jobs."""
        self.done: dict[str, int] = {}
        self.started: dict[str, float] = {}
        self.rules: dict[int, str] = {}
        """Id of each job that has started -> its rule."""
        self.silent = set[str]()
        """Rules that only gather files, and are no stage."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show what a record says, if it is of interest on the screen."""
        event = getattr(record, "event", None)
        if self.is_noise(record):
            return
        if self.common_settings.dryrun or self.is_shown(record, event):
            text = self.format(record)
            # A dry run's result is its log; other messages must not be written over the bar.
            tqdm.write(text, file=sys.stderr)
        elif event == LogEvent.RUN_INFO:
            self.start_bar(record.stats)  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_INFO:
            self.start_job(record)
        elif event == LogEvent.JOB_FINISHED:
            self.finish_job(record.job_id)  # type: ignore[attr-defined]

    def is_shown(self, record: logging.LogRecord, event: LogEvent | None) -> bool:
        """Return whether a record is shown as it is."""
        if event is not None:
            return event in SHOWN_EVENTS
        important = record.levelno >= logging.WARNING or hasattr(record, "on_screen")
        return important or record.getMessage().startswith(SHOWN_STARTS)

    def is_noise(self, record: logging.LogRecord) -> bool:
        """Return whether a record is about the jobs that a stopped run has ended, which are no news to the user."""
        if self.stopping:
            return not record.getMessage().startswith(SHOWN_STARTS)
        self.stopping = hasattr(record, "stopping")
        return False

    def start_bar(self, stats: dict[str, int]) -> None:
        """Show the bar of a run that is about to start.

        Args:
            stats: Number of jobs of each rule, and of all of them as ``total``.
        """
        self.totals = dict(stats)
        total = self.totals.pop("total", None)
        form = "{percentage:3.0f}%|{bar:30}| {n_fmt} of {total_fmt} jobs, {elapsed}  {desc}"
        self.bar = tqdm(total=total, file=sys.stderr, leave=False, disable=None, dynamic_ncols=True, bar_format=form)
        if not self.bar.disable:
            os.environ[BAR_ABOVE] = "1"
            threading.Thread(target=self.keep_time, args=(self.bar,), daemon=True).start()

    def keep_time(self, bar: "tqdm[Any]") -> None:
        """Show the time of a bar, also while no job ends."""
        while not self.closed.wait(1):
            bar.refresh()

    def start_job(self, record: logging.LogRecord) -> None:
        """Name the job that has just started beside the bar."""
        job: dict[str, Any] = record.__dict__
        rule = job["rule_name"]
        self.rules[job["jobid"]] = rule
        self.started.setdefault(rule, time.monotonic())
        if not job["rule_msg"]:
            self.silent.add(rule)
        elif self.bar is not None:
            self.bar.set_description_str(job["rule_msg"])

    def finish_job(self, number: int) -> None:
        """Advance the bar, and write a line if this was the last job of its stage."""
        rule = self.rules.get(number)
        if self.bar is None or rule is None:
            return
        self.bar.update()
        self.done[rule] = self.done.get(rule, 0) + 1
        if self.done[rule] == self.totals.get(rule) and rule not in self.silent:
            seconds = time.monotonic() - self.started[rule]
            jobs = f"{self.done[rule]} job{'s' if self.done[rule] > 1 else ''}"
            tqdm.write(f"{rule.replace('_', ' '):<20} {jobs:>10} {seconds:>8.1f} s", file=sys.stderr)

    def close(self) -> None:
        """Remove the bar."""
        self.closed.set()
        if self.bar is not None:
            self.bar.close()
        super().close()
