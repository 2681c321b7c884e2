"""Stand-in for Python: hands the work to a process of ``preloaded_server`` that has imported the libraries it needs."""

import _signal
import _socket  # `socket` and `json` would take as long to import as Python to start
import array
import marshal
import os
import sys

_signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # Ctrl-C reaches the fork too, which then ends this process
FILES = "normalize adopt render split publish verify accept card provenance prune"
ENDINGS = {
    "files": tuple(f".{name}.py" for name in FILES.split()),  # as in tmp3s5k2a1x.render.py
    "drawing": (".measure.py", ".report.py", ".predict_report.py"),
    "training": (".train.py", ".evaluate.py", "_fold.py", ".benchmark.py", "precision.py", "trained.py"),
}
arguments = sys.argv[1:]
if arguments[:2] == ["-m", "snakemake"]:
    stage = "runs"
elif "-c" in arguments:  # a process of pytest-xdist
    stage = "training"
else:
    stage = next((stage for stage, endings in ENDINGS.items() if arguments[0].endswith(endings)), "jobs")

here = os.getcwd()  # noqa: PTH109 - importing pathlib takes longer than everything else here
work = {"arguments": arguments, "executable": sys.executable, "folder": here, "environment": dict(os.environ)}
standard = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
connection.connect(os.path.join(os.path.dirname(sys.argv[0]), stage))  # noqa: PTH118, PTH120 - as above
connection.sendmsg([marshal.dumps(work)], [standard])
status, killed = connection.recv(2) or (1, False)
if killed:
    os.kill(os.getpid(), status)
sys.exit(status)
