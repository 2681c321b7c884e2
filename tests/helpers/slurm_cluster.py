"""A Slurm cluster for the tests: munged, slurmctld and slurmd on this machine, with files that stand for GPUs."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
"""Files that stand for GPUs: Slurm counts and assigns them, and never looks at what they are."""

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/prolog
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=1
MessageTimeout=100
MinJobAge=86400
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=65536 Gres=gpu:{gpus}
"""

# The executor plugin removes Slurm's variables, and so SLURM_CONF, from a job's environment before it calls srun.
SRUN = """#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""

PROLOG = """#!/bin/sh
echo "$SLURM_JOB_ID ${{CUDA_VISIBLE_DEVICES-none}}" >> {folder}/devices
"""


def missing() -> str | None:
    """Return the reason why no Slurm can be started here, or None if one can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    lacking = [tool for tool in TOOLS if not find(tool)]
    return f"Slurm is not installed: no {', '.join(lacking)} (Debian: slurm-wlm and munge)" if lacking else None


def find(tool: str) -> str | None:
    """Return the path of a program. Daemons are not on every PATH."""
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until a condition holds; fail if that takes too long.

    Args:
        condition: Function that says whether the condition holds.
        what: What is waited for, in words.
        seconds: Longest time to wait.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what} for {seconds} s"
        time.sleep(0.1)


class SlurmCluster:
    """A cluster of one node.

    Jobs, steps and daemons have this cluster's SLURM_CONF in their environment, by which they are found again.
    """

    def __init__(self, folder: Path, partitions: set[str], cpus: int = 16, gpus: int = 4) -> None:
        """Start nothing yet.

        Args:
            folder: Folder for the configuration, the state and the logs.
            partitions: Names of the partitions, all of which have the node.
            cpus: Number of processors that the node claims to have.
            gpus: Number of GPUs that the node claims to have.
        """
        self.folder = folder
        self.partitions = partitions
        self.cpus = cpus
        self.gpus = gpus
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Write the configuration, start the daemons and wait until the node accepts jobs."""
        host = socket.gethostname().split(".")[0]
        controller_port, node_port = free_ports(2)
        values = {"folder": self.folder, "host": host, "cpus": self.cpus, "gpus": self.gpus}
        text = CONFIGURATION.format(controller_port=controller_port, node_port=node_port, **values)
        text += "".join(f"PartitionName={name} Nodes=ALL\n" for name in sorted(self.partitions))
        (self.folder / "slurm.conf").write_text(text)
        devices = "".join(f"Name=gpu File={device}\n" for device in DEVICES[: self.gpus])
        (self.folder / "gres.conf").write_text(f"AutoDetect=off\n{devices}")

        for name, text in (("prolog", PROLOG), ("bin/srun", SRUN)):
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(text.format(srun=find("srun"), **values))
            (self.folder / name).chmod(0o755)
        (self.folder / "munge.key").write_bytes(secrets.token_bytes(1024))
        (self.folder / "munge.key").chmod(0o400)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()

        parts = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in parts.items()]
        self.daemon("munged", "--foreground", "--force", f"--log-file={self.folder / 'munge.log'}", *options)
        wait_for(lambda: (self.folder / "munge.socket").exists(), "munged")
        self.daemon("slurmctld", "-D")
        self.daemon("slurmd", "-D", "-N", host)
        wait_for(lambda: "idle" in self.tool("sinfo", "--noheader", "--format=%t", check=False), "slurmd")

    def daemon(self, name: str, *arguments: str) -> None:
        """Start a daemon in the foreground, with its output in a log."""
        program = find(name)
        assert program is not None
        with (self.folder / f"{name}.out").open("w") as log:
            self.daemons.append(subprocess.Popen([program, *arguments], env=self.environment, stdout=log, stderr=log))

    def tool(self, name: str, *arguments: str, check: bool = True) -> str:
        """Run one of Slurm's commands and return what it prints."""
        process = subprocess.run([name, *arguments], env=self.environment, capture_output=True, text=True)
        assert process.returncode == 0 or not check, process.stderr
        return process.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Return Slurm's record of every job, including each job of an array, in the order of their numbers."""
        lines = self.tool("scontrol", "show", "jobs", "--oneliner").splitlines()
        records = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return sorted((record for record in records if "JobId" in record), key=lambda record: int(record["JobId"]))

    def devices(self) -> dict[str, str]:
        """Return job number -> CUDA_VISIBLE_DEVICES in the job, or "none"."""
        return dict(line.split() for line in (self.folder / "devices").read_text().splitlines())

    def stop(self) -> None:
        """End every process of this cluster, jobs first, and wait until none is left."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # scancel hangs if munged is gone
            subprocess.run(["scancel", "--user=root"], env=self.environment, capture_output=True, timeout=10)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            deadline = time.monotonic() + 3
            while self.processes() and time.monotonic() < deadline:
                time.sleep(0.1)
        for daemon in self.daemons:
            daemon.wait()

    def processes(self) -> list[int]:
        """Return the IDs of the running processes that have this cluster's configuration in their environment."""
        wanted = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return found
