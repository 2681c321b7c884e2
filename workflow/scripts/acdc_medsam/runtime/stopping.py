"""Stop a run at Ctrl-C or SIGTERM: end its jobs on this machine, and then the run itself.

At SIGTERM, Snakemake by itself would wait for the end of all jobs, which may take hours.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import psutil

POLL_SECONDS = 0.1
"""How often to look for jobs that were about to start when the signal came."""


class SignalStop:
    """Handler of the signals that ask a run to stop.

    Python calls handlers in the main thread only, and does not wake that thread if the system gave the signal to
    another one. The scheduler sleeps in the main thread until a job ends. A thread of this class is therefore told of
    signals and wakes it.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        """Handle nothing yet.

        Args:
            say: Function that tells the user that the run is stopping.
        """
        self._say = say
        self._stopping = False

    def install(self) -> None:
        """Handle SIGINT and SIGTERM from now on; only the main thread may call this."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

        received, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(received,), daemon=True).start()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt once, which Snakemake's scheduler takes as the order to stop.

        Nothing is raised while a message is being logged: logging holds a lock that ``say`` would wait for forever, and
        Snakemake's log handler ignores the exception. The thread asks again.
        """
        if self._stopping or is_logging(frame):
            return
        self._stopping = True
        self._say()
        raise KeyboardInterrupt

    def _watch(self, received: int) -> None:
        """Wait for a signal, then end every process below this one, including those that are just starting."""
        number = os.read(received, 1)[0]
        asked: set[psutil.Process] = set()
        while True:
            jobs = set(psutil.Process().children(recursive=True)) - asked
            for job in jobs:
                with contextlib.suppress(psutil.NoSuchProcess):  # the job may have ended by itself just now
                    job.terminate()
            asked |= jobs
            if not self._stopping:
                signal.pthread_kill(threading.main_thread().ident or 0, number)
            time.sleep(POLL_SECONDS)


def is_logging(frame: FrameType | None) -> bool:
    """Return whether the code that a signal interrupts is writing to a log."""
    while frame is not None:
        if frame.f_globals.get("__name__") == logging.__name__:
            return True
        frame = frame.f_back
    return False
