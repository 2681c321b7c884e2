"""The code of a job: a hash of the modules that its script uses, and the path on which it finds those very modules.

With the hash, an edited module re-runs the rules that use it, and no others.
"""

import ast
import hashlib
import os
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@cache  # the stages share most of their modules
def imported_modules(source: Path) -> set[Path]:
    """Files of this package that a source file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {path for name in names for path in _module_files(name)}


def _module_files(name: str) -> list[Path]:
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return []
    path = PACKAGE.joinpath(*parts[1:])
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


def used_modules(script: Path) -> set[Path]:
    """Files of this package that a script imports, directly or through another one."""
    found, waiting = set[Path](), [script]
    while waiting:
        new = imported_modules(waiting.pop()) - found
        found |= new
        waiting += new
    return found


def code_hash(script: Path) -> str:
    """Hex sha256 over the names and contents of :func:`used_modules`."""
    digest = hashlib.sha256()
    for path in sorted(used_modules(script)):
        digest.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def put_own_code_first() -> None:
    """Have every Python that this process starts find this package before one that is installed.

    Snakemake puts a script's folder behind site-packages, where another version of the package may be; PYTHONPATH comes
    before both. Jobs inherit it, and a job on a cluster calls this too, when it reads the workflow. Snakemake takes it
    away under ``--sdm conda``, where the script's folder is enough: no environment of ``envs/`` has the package.
    """
    before = os.environ.get("PYTHONPATH")
    own = str(PACKAGE.parent)
    os.environ["PYTHONPATH"] = own if not before else os.pathsep.join([own, before])
