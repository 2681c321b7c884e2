"""The code of a job: a hash of the modules that its script uses.

With the hash among its params, a rule runs again when a module that it uses is edited, and no other rule does.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@cache  # the stages share most of their modules
def imported_modules(source: Path) -> set[Path]:
    """Return the files of this package that a source file imports, anywhere in it."""
    names = set()
    for node in _statements(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {path for name in names for path in _module_files(name)}


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield all statements below a node. ``ast.walk`` would also visit each expression, and take ten times as long."""
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        for child in getattr(node, field, ()):
            if isinstance(child, ast.stmt):
                yield child
            yield from _statements(child)


def _module_files(name: str) -> list[Path]:
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return []
    path = PACKAGE.joinpath(*parts[1:])
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


def used_modules(source: Path) -> set[Path]:
    """Return the files of this package that a source file runs.

    Args:
        source: A script, or a module of this package.

    Returns:
        What the source imports, directly or through another module, and the source itself if it is a module.
    """
    found = {source} if source.is_relative_to(PACKAGE) else set[Path]()
    waiting = [source]
    while waiting:
        new = imported_modules(waiting.pop()) - found
        found |= new
        waiting += new
    return found


def code_hash(source: Path) -> str:
    """Return a hex sha256 over the names and contents of :func:`used_modules`."""
    digest = hashlib.sha256()
    for path in sorted(used_modules(source)):
        digest.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()
