"""Stand-in for Python in the runs of ``snakemake_server``: hands the work to a process that has imported libraries."""

import json
import os
import socket
import sys

executable, _, jobs = os.environ.pop("PRELOADED_PYTHON").rpartition(":")
here = os.getcwd()  # noqa: PTH109 - importing pathlib takes longer than everything else here
job = {"arguments": sys.argv[1:], "executable": executable, "folder": here, "environment": dict(os.environ)}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(jobs)
    socket.send_fds(connection, [json.dumps(job).encode() + b"\n"], [0, 1, 2])
    status = connection.recv(1)
sys.exit(status[0] if status else 1)
