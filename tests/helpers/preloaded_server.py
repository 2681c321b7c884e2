"""Processes that have already imported libraries, and fork for each run, job or test process: this saves start-up time.

Each stage is a process with a socket of its name in the server's folder: ``files`` starts the scripts that import
least, ``runs`` starts Snakemake, ``drawing`` starts the scripts that measure or draw, ``jobs`` starts other scripts and
modules, and ``training`` starts those that import most. Each is a fork of the one before, which it makes when it is
first needed. ``preloaded_python``, of which the folder has a copy, takes the place of Python. Tests that interrupt a
run start it and its jobs as a user does, without this server.
"""

import atexit
import contextlib
import gc
import importlib
import marshal
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
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

from remembered import COMPUTE, Remembering, remember_parsing

# None of these starts threads on import, which a forked process would lack.
LIBRARIES = {
    # What jobs import that read, write and compare files. The more memory a process has, the longer a fork of it takes.
    "files": (
        "h5py",
        "isal.igzip",
        "jinja2",
        "nibabel",
        "PIL.BmpImagePlugin",
        "PIL.GifImagePlugin",
        "PIL.JpegImagePlugin",
        "PIL.PpmImagePlugin",
        "PIL.WebPImagePlugin",
        # What skimage.exposure and skimage.measure import on first use only.
        "skimage.exposure.exposure",
        "skimage.measure._find_contours",
        "snakemake.script",
        "tqdm",
    ),
    # What a run imports from other projects. The project's own modules are imported by each run.
    "runs": (
        "filelock",
        "jsonschema",
        "nbformat",
        "psutil",
        "smart_open",
        "snakemake.benchmark",
        "snakemake.cli",
        "snakemake.profiles",
        "snakemake.report.html_reporter",
        "snakemake.storage",
    ),
    # What jobs import that measure or draw.
    "drawing": (
        "matplotlib.backends.backend_svg",
        "matplotlib.figure",
        "scipy.ndimage",
        "skimage.measure._blur_effect",
        "skimage.restoration.uft",
    ),
    # What jobs import in addition that encode or export.
    "jobs": ("torch", "zarr"),
    # What training, evaluation and most test processes import in addition.
    "training": ("monai.losses", "monai.metrics", "pytorch_lightning"),
}

FOLDER = "PRELOADED_SERVER"
"""Environment variable with the folder of the server, for the test processes that share it."""

REMEMBERED = "remembered"
"""Name of the folder of results that jobs look up."""


class PreloadedServer:
    """The server, which starts when it is first needed, and ends with the process that started it."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self.process: subprocess.Popen[str] | None = None

    def python(self) -> str:
        """Start the server unless it was started, and return the path of the stand-in for Python."""
        if FOLDER not in os.environ:
            # Not in pytest's own folder, because the path of a socket must not be longer than 107 characters.
            folder = tempfile.mkdtemp(prefix="preloaded-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
            command = [sys.executable, __file__, folder]
            # NumPy's threads are set when it is imported. Jobs that multiply matrices by NumPy do so in one thread.
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"
            os.environ[FOLDER] = folder
        return str(Path(os.environ[FOLDER]) / "python")


def serve(folder: Path) -> None:
    """Serve all stages until standard input is closed.

    Args:
        folder: Folder for the sockets and for the stand-in.
    """
    stand_in = folder / "python"
    (folder / REMEMBERED).mkdir()
    stand_in.write_text(f"#!{sys.executable} -ISs\n{Path(__file__).with_name('preloaded_python.py').read_text()}")
    stand_in.chmod(0o755)
    sockets = {stage: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for stage in LIBRARIES}
    for stage, listening in sockets.items():
        listening.bind(str(folder / stage))
        listening.listen(64)
    print("ready", flush=True)

    # Ctrl-C is for the test processes, which then end the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = os.getpid()
    for stage in LIBRARIES:
        select.select([0, *sockets.values()], [], [])
        import_all(LIBRARIES[stage])
        if stage == "runs":
            find_plugins()
        listening = sockets.pop(stage)
        if not sockets or os.fork():
            for other in sockets.values():
                other.close()
            serve_stage(listening, stand_in)
            break
        listening.close()
    if os.getpid() == first:
        shutil.rmtree(folder)


def serve_stage(listening: socket.socket, stand_in: Path) -> None:
    """Fork for each stand-in, send it how the fork ended, and kill the fork if the stand-in was killed.

    Args:
        listening: Socket of the stage.
        stand_in: Path of the stand-in.
    """
    running = dict[int, tuple[int, socket.socket]]()  # file descriptor of a fork -> its ID, connection to its stand-in
    while True:
        connections = [connection for _, connection in running.values()]
        ready, _, _ = select.select([0, listening, *running, *connections], [], [])
        if 0 in ready:
            return

        for process, (number, connection) in list(running.items()):
            if process in ready:
                result = os.waitid(os.P_PIDFD, process, os.WEXITED)
                assert result is not None
                with contextlib.suppress(BrokenPipeError):
                    connection.send(bytes([result.si_status, result.si_code != os.CLD_EXITED]))
                del running[process]
                os.close(process)
                connection.close()
            elif connection in ready:
                kill(number)

        if listening in ready:
            connection, _ = listening.accept()
            text, descriptors, _, _ = socket.recv_fds(connection, 2**20, 3)
            number = os.fork()
            if not number:
                for other in (listening, connection, *connections):
                    other.close()
                return become(marshal.loads(text), list(descriptors), stand_in)
            running[os.pidfd_open(number)] = (number, connection)
            for descriptor in descriptors:
                os.close(descriptor)


def kill(number: int) -> None:
    """Kill a fork, and what it has started if it has a process group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
        os.killpg(number, signal.SIGKILL)


def become(work: dict[str, Any], standard: list[int], stand_in: Path) -> None:
    """Turn this fork into what a new process of Python would be, and do its work.

    Args:
        work: Arguments, environment, working directory and interpreter of the process.
        standard: Descriptors for standard input, output and error.
        stand_in: Path of the stand-in, with which Snakemake and benchmarks start further processes.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    take_over(standard, work["environment"], work["folder"])
    sys.executable = str(stand_in)
    sys.orig_argv = [work["executable"], *work["arguments"]]
    sys.path[:1] = [work["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    if "TEST_GATE" in os.environ:  # Python imports this module when it starts
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    if "OMP_NUM_THREADS" in os.environ and "torch" in sys.modules:  # PyTorch reads it on import, which was earlier
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    match work["arguments"]:
        case ["-m", "snakemake", *arguments]:
            os.setpgid(0, 0)  # so that its jobs are killed with it
            if COMPUTE not in os.environ:
                remember_parsing(stand_in.with_name(REMEMBERED))
            sys.argv = ["snakemake", *arguments]
            try:
                runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
            except SystemExit as error:
                end(error.code if isinstance(error.code, int) else 1)
        case ["-m", module, *arguments]:
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [*_, "-c", code]:
            sys.executable = work["executable"]  # a test itself chooses what is a fork
            sys.argv = ["-c"]
            sys.modules["__main__"] = ModuleType("__main__")
            exec(code, vars(sys.modules["__main__"]))
        case [script, *_]:
            sys.argv = work["arguments"]
            sys.path[0] = str(Path(script).parent)
            if Path(script).name.startswith("tmp") and COMPUTE not in os.environ:  # as in tmp3s5k2a1x.embed.py
                sys.meta_path.insert(0, Remembering(stand_in.with_name(REMEMBERED)))
            runpy.run_path(script, run_name="__main__")
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
    for descriptor in standard:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)


def import_all(names: tuple[str, ...]) -> None:
    """Import modules, whose memory forks share: garbage collection and clean-up at an exit leave it alone."""
    for name in names:
        importlib.import_module(name)
    gc.freeze()
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        finalizer.atexit = False


def find_plugins() -> None:
    """Have Snakemake look for its plugins, which it does once in a process. The project's own logger is left out."""
    for name, registry in vars(importlib.import_module("snakemake.cli")).items():
        if name.endswith("PluginRegistry") and name != "LoggerPluginRegistry":
            registry()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
