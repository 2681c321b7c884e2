import contextlib
import logging
import os
import re
import termios
import time

import pytest

from acdc_medsam.runtime import progress
from acdc_medsam.runtime.progress import Progress


def test_the_log_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    caplog.set_level(logging.INFO)
    shown = Progress(8, unit="slice")
    for _ in range(8):
        shown.advance()
    shown.close()
    lines = [record.message for record in caplog.records]
    # Four seconds a slice: a line every third slice, and at the end.
    assert [line.split("|")[2].split()[0] for line in lines] == ["3/8", "6/8", "8/8"]
    assert "[00:12<00:20,  4.00s/slice]" in lines[0]


def test_there_is_no_bar_but_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress(1, unit="slice")
    shown.advance()
    shown.close()
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_with_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, screen = os.openpty()
    termios.tcsetwinsize(screen, (24, 80))  # a new one has no columns, and nothing is drawn into them
    with os.fdopen(screen, "w") as stderr:
        monkeypatch.setattr(progress.sys, "stderr", stderr)
        shown = Progress(4, unit="slice")
        for _ in range(3):
            time.sleep(0.15)  # tqdm draws ten times a second
            shown.advance()
        shown.close()
    # Linux passes on what is written to a terminal a little later: read to the end, told by an error once it is closed.
    text = b""
    with os.fdopen(terminal, "rb", buffering=0) as keyboard, contextlib.suppress(OSError):
        while chunk := keyboard.read(4096):
            text += chunk
    assert re.search(r"75%\|.*3/4 \[\d+:\d+<\d+:\d+, .*(slice/s|s/slice)\]", text.decode())
