"""What `--logger acdc-medsam` shows of a run, on a terminal and elsewhere."""

import io
import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

import snakemake_logger_plugin_acdc_medsam as plugin
from snakemake_logger_plugin_acdc_medsam import BAR_ABOVE, LogHandler

COUNTS = {"normalize": 2, "split": 1, "all": 1, "total": 4}


class Terminal(io.StringIO):
    """Keeps what is written to it."""

    def isatty(self) -> bool:
        """Return that this is a terminal."""
        return True


@pytest.fixture(params=[True, False], ids=["terminal", "file"])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = Terminal() if request.param else io.StringIO()
    # pytest puts its own file in the place of sys.stderr again before the test.
    monkeypatch.setattr(plugin, "sys", SimpleNamespace(stderr=stream))
    monkeypatch.setenv(BAR_ABOVE, "")
    monkeypatch.delenv(BAR_ABOVE)
    return stream


def handler(dryrun: bool = False) -> LogHandler:
    return LogHandler(SimpleNamespace(dryrun=dryrun), None)  # type: ignore[arg-type]


def show(shown: LogHandler, message: str = "", level: int = logging.INFO, **facts: Any) -> None:
    """Pass a record to the handler."""
    record = logging.LogRecord("snakemake.logging", level, "", 0, message, None, None)
    record.__dict__.update(facts)
    shown.emit(record)


def run_jobs(shown: LogHandler) -> None:
    """Pass the records of a run of four jobs to the handler."""
    show(shown, "Job stats:", event=LogEvent.RUN_INFO, stats=COUNTS)
    for number, (rule, message) in enumerate(
        (("normalize", "normalize a"), ("normalize", "normalize b"), ("split", "split"), ("all", None))
    ):
        show(shown, "Rule", event=LogEvent.JOB_INFO, jobid=number, rule_name=rule, rule_msg=message)
        show(shown, "Finished", event=LogEvent.JOB_FINISHED, job_id=number)
        show(shown, event=LogEvent.PROGRESS, done=number, total=4)
        show(shown, "Select jobs to execute...")


def test_each_stage_has_one_line(screen: io.StringIO) -> None:
    shown = handler()
    run_jobs(shown)
    shown.close()
    lines = [line.split("\r")[-1] for line in screen.getvalue().splitlines()]
    stages = [line.split() for line in lines if line.endswith(" s")]
    assert [stage[:3] for stage in stages] == [["normalize", "2", "jobs"], ["split", "1", "job"]]
    assert "Select" not in screen.getvalue() and "Job stats" not in screen.getvalue()


def test_only_a_terminal_has_a_bar(screen: io.StringIO) -> None:
    shown = handler()
    run_jobs(shown)
    assert ("of 4 jobs" in screen.getvalue()) is screen.isatty()
    assert ("normalize a" in screen.getvalue()) is screen.isatty(), "the message of the running job is beside the bar"
    assert (BAR_ABOVE in os.environ) is screen.isatty(), "jobs leave the line to it"
    shown.close()
    assert shown.closed.is_set()


@pytest.mark.parametrize(
    ("level", "facts", "expected"),
    [
        (logging.ERROR, {}, True),
        (logging.WARNING, {}, True),
        (logging.INFO, {"on_screen": True}, True),
        (logging.INFO, {}, False),
        (logging.ERROR, {"event": LogEvent.JOB_ERROR}, True),
        (logging.INFO, {"event": LogEvent.SHELLCMD}, False),
        (logging.INFO, {"event": LogEvent.WORKFLOW_STARTED}, False),
    ],
)
def test_what_matters_is_shown_whole(screen: io.StringIO, level: int, facts: dict[str, Any], expected: bool) -> None:
    shown = handler()
    show(shown, "patient001: a.nii.gz is damaged\nrestore it", level, **facts)
    assert screen.getvalue() == ("patient001: a.nii.gz is damaged\nrestore it\n" if expected else "")


def test_where_the_log_is_and_that_nothing_is_to_be_done_is_said(screen: io.StringIO) -> None:
    shown = handler()
    show(shown, "Complete log(s): /a/b.log")
    show(shown, "Nothing to be done (all requested files are present and up to date).")
    assert screen.getvalue().startswith("Complete log(s): /a/b.log\nNothing to be done")


def test_a_dry_run_is_shown_whole(screen: io.StringIO) -> None:
    shown = handler(dryrun=True)
    run_jobs(shown)
    assert "Job stats:" in screen.getvalue() and "of 4 jobs" not in screen.getvalue()


def test_a_run_that_was_stopped_does_not_list_the_jobs_that_it_ended(screen: io.StringIO) -> None:
    shown = handler()
    show(shown, "stopping", logging.ERROR, stopping=True)
    show(shown, "Error in rule normalize", logging.ERROR, event=LogEvent.JOB_ERROR)
    show(shown, "died with <Signals.SIGTERM: 15>", logging.ERROR)
    show(shown, "Complete log(s): /a/b.log")
    assert screen.getvalue() == "stopping\nComplete log(s): /a/b.log\n"
