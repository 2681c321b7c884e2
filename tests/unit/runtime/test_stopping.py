"""Stopping at a signal, at moments that a run seldom meets."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from acdc_medsam.runtime.stopping import SignalStop

pytestmark = pytest.mark.timing

START = """
import logging, os, signal, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from acdc_medsam.runtime.stopping import SignalStop

log = logging.getLogger("run")
pool = ThreadPoolExecutor(1)
SignalStop(lambda: log.error("stopping")).install()
"""

# As Snakemake's: its lock is not reentrant, and it takes no interruption.
HANDLER = """
class Handler(logging.Handler):
    lock_of_output = threading.Lock()

    def emit(self, record):
        with self.lock_of_output:
            try:
                if record.msg == "job":
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(0.1)
                print(record.msg, flush=True)
            except KeyboardInterrupt:
                pass

log.addHandler(Handler())
try:
    log.error("job")
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted")
"""

# The main thread waits for a job, as Snakemake's does, and the system gives the signal to another thread.
GIVEN_TO_ANOTHER = """
ready = threading.Event()

def other():
    ready.set()
    time.sleep(600)

thread = threading.Thread(target=other, daemon=True)
thread.start()
ready.wait()
threading.Timer(0.3, signal.pthread_kill, (thread.ident, signal.SIGTERM)).start()
try:
    threading.Semaphore(0).acquire()
except KeyboardInterrupt:
    print("interrupted")
"""

JOB_THAT_STARTS_LATE = """
interrupted = threading.Event()

def job():
    interrupted.wait()
    print(subprocess.run(["sleep", "600"]).returncode)

running = pool.submit(job)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)
except KeyboardInterrupt:
    interrupted.set()
    # Waiting for the end of jobs, a user asks again.
    os.kill(os.getpid(), signal.SIGINT)
    pool.shutdown()
    print("interrupted")
"""


def run(script: str) -> list[str]:
    process = subprocess.run([sys.executable, "-c", START + script], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    return process.stdout.split()


def test_a_signal_while_a_message_is_written_waits_for_its_end() -> None:
    assert run(HANDLER) == ["job", "stopping", "interrupted"]


def test_a_signal_that_another_thread_got_wakes_the_main_thread() -> None:
    assert run(GIVEN_TO_ANOTHER) == ["interrupted"]


def test_a_job_that_was_about_to_start_is_ended_too() -> None:
    assert run(JOB_THAT_STARTS_LATE) == ["-15", "interrupted"]


def test_a_job_that_has_just_ended_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, job = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    processes = [psutil.Process(process.pid) for process in (gone, job)]
    gone.kill()
    gone.wait()
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: processes)
    stop = SignalStop(lambda: None)
    stop._stopping = True
    received, told = os.pipe()
    os.write(told, bytes([signal.SIGTERM]))
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(time, "sleep", lambda seconds: sys.exit())
        stop._watch(received)
    assert job.wait(60) == -15
