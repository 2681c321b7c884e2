"""Processes that have already imported the libraries of runs and jobs, and fork for each one: this saves start-up time.

The server reads one line of JSON per run from standard input: arguments, folder, environment and the file for the
output. It answers with a line that has the exit status. Jobs of such a run go through ``preloaded_python`` to a second
process, which has imported the libraries of jobs. Jobs on a cluster do so where their run was started with the
stand-in. Tests that disturb a run start it and its jobs as a user does, without this server.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What a run imports from other projects. The project's own modules are imported by each run.
LIBRARIES = (
    "filelock",
    "h5py",
    "isal.igzip",
    "jsonschema",
    "nibabel",
    "psutil",
    "smart_open",
    "snakemake.cli",
    "snakemake.profiles",
    "snakemake.report.html_reporter",
    "snakemake.storage",
)

# What jobs import in addition. None of these starts threads on import; a forked process would lack them.
LIBRARIES_OF_JOBS = (
    "jinja2",
    "matplotlib.backends.backend_svg",
    "PIL.WebPImagePlugin",
    "scipy.ndimage",
    # What skimage.exposure and skimage.measure import on first use only.
    "skimage.exposure.exposure",
    "skimage.measure._blur_effect",
    "skimage.measure._find_contours",
    "torch",
)

# What training and evaluation import in addition, which takes so long that other jobs do not wait for it.
LIBRARIES_OF_TRAINING = ("monai.losses", "monai.metrics", "pytorch_lightning")

PRELOADED_PYTHON = Path(__file__).with_name("preloaded_python.py")


class SnakemakeServer:
    """The server process, which starts with the first run and ends with the test process."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self.process: subprocess.Popen[str] | None = None
        self.jobs = Path()

    def start(self) -> subprocess.Popen[str]:
        """Start the server unless it was started, and return its process."""
        if self.process is None:
            # Not in pytest's own folder, because the path of a socket must not be longer than 107 characters.
            self.jobs = Path(tempfile.mkdtemp(prefix="jobs-"))
            command = [sys.executable, __file__, str(self.jobs)]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"
        return self.process

    def run(self, arguments: list[str], folder: Path, output: Path, environment: Mapping[str, str]) -> int:
        """Do what ``python -m snakemake`` does.

        Args:
            arguments: Arguments of the command line.
            folder: Working directory.
            output: File that gets the output.
            environment: Environment variables.

        Returns:
            The exit status.
        """
        process = self.start()
        run = {"arguments": arguments, "folder": str(folder), "output": str(output), "environment": dict(environment)}
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(run) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    def python(self) -> str:
        """Return the path of the stand-in for Python, which needs the variables of ``environment_of``."""
        self.start()
        return str(self.jobs / "python")

    def environment_of(self, other: Mapping[str, str]) -> dict[str, str]:
        """Add what the stand-in for Python needs to an environment."""
        self.start()
        return {**other, "PRELOADED_PYTHON": preloaded(self.jobs)}


def preloaded(jobs: Path) -> str:
    """Return what the stand-in for Python must know: the real one, and the socket of the jobs."""
    return f"{sys.executable}:{jobs / 'socket'}"


def become(run: dict[str, Any], jobs: Path) -> None:
    """Turn this fork of the server into what a new process would be, and run Snakemake."""
    descriptors = (os.open(os.devnull, os.O_RDONLY), os.open(run["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    take_over([descriptors[0], descriptors[1], descriptors[1]], run["environment"], run["folder"])
    sys.path[0] = run["folder"]
    run_snakemake(run["arguments"], jobs)


def run_snakemake(arguments: list[str], jobs: Path) -> None:
    """Run Snakemake in this process, which starts scripts and jobs with the stand-in instead of its own interpreter."""
    os.environ["PRELOADED_PYTHON"] = preloaded(jobs)
    sys.executable = str(jobs / "python")
    sys.argv = ["snakemake", *arguments]
    try:
        runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        end(error.code if isinstance(error.code, int) else 1)


def become_job(job: dict[str, Any], descriptors: list[int], jobs: Path) -> None:
    """Turn this fork of the server into what a new process would be, and run a script or a module."""
    take_over(descriptors, job["environment"], job["folder"])
    sys.executable = job["executable"]
    sys.orig_argv = [job["executable"], *job["arguments"]]
    sys.path[:0] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if "TEST_GATE" in os.environ:  # Python imports this module when it starts
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    if job["arguments"][0] == "-m":
        sys.path.insert(0, job["folder"])
    if job["arguments"][:2] == ["-m", "snakemake"]:
        return run_snakemake(job["arguments"][2:], jobs)
    if "OMP_NUM_THREADS" in os.environ:  # PyTorch reads it on import, which was earlier
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if job["arguments"][0] == "-m":
        sys.argv = job["arguments"][1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = job["arguments"]
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")
    end()


def end(status: int = 0) -> None:
    """End this process at once, because tearing down the imported libraries takes time."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def take_over(standard: list[int], environment: dict[str, str], folder: str) -> None:
    """Take over the standard files, environment and working directory of another process.

    Args:
        standard: Descriptors for standard input, output and error.
        environment: Environment variables.
        folder: Working directory.
    """
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
    for descriptor in set(standard):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)


def serve(jobs: Path) -> None:
    """Serve runs until standard input is closed.

    Args:
        jobs: Folder for the socket of the jobs and for the interpreter that they are started with.
    """
    (jobs / "python").write_text(f"#!{sys.executable} -ISs\n{PRELOADED_PYTHON.read_text()}")
    (jobs / "python").chmod(0o755)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(jobs / "socket"))
    server.listen(64)
    print("ready", flush=True)
    import_all(LIBRARIES)

    job_server = os.fork()
    if not job_server:
        return serve_jobs(server, jobs)
    server.close()

    for line in sys.stdin:
        number = os.fork()
        if not number:
            return become(json.loads(line), jobs)
        _, status = os.waitpid(number, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)

    os.kill(job_server, signal.SIGKILL)
    shutil.rmtree(jobs)


def serve_jobs(server: socket.socket, jobs: Path) -> None:
    """Serve jobs: fork for each one, and fork again for the job itself, so that the first fork can wait for it."""
    import_all(LIBRARIES_OF_JOBS)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = server.accept()
        text, descriptors, _, _ = socket.recv_fds(connection, 2**20, 3)
        while not text.endswith(b"\n"):  # Linux hands over a long text in parts
            text += connection.recv(2**20)
        job = json.loads(text)
        if job["arguments"][0].endswith((".train.py", ".evaluate.py")):
            import_all(LIBRARIES_OF_TRAINING)
        if os.fork():
            connection.close()
            for descriptor in descriptors:
                os.close(descriptor)
            continue

        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        server.close()
        number = os.fork()
        if not number:
            connection.close()
            return become_job(job, list(descriptors), jobs)
        kill_with(connection, number)
        _, status = os.waitpid(number, 0)
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(bytes([abs(os.waitstatus_to_exitcode(status))]))
        os._exit(0)


def kill_with(connection: socket.socket, number: int) -> None:
    """Wait until a process has ended; kill it if its stand-in, at the other end of the connection, was killed."""
    process = os.pidfd_open(number)
    ready, _, _ = select.select([process, connection.fileno()], [], [])
    if process not in ready:
        os.kill(number, signal.SIGKILL)
    os.close(process)


def import_all(names: tuple[str, ...]) -> None:
    """Import modules, and exempt them from garbage collection, so that forks share their memory."""
    for name in names:
        importlib.import_module(name)
    gc.freeze()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
