"""The code of a job: a hash of the modules that its script uses.

With the hash among its params, a rule runs again when a module that it uses is edited, and no other rule does.
"""

import hashlib
import re
from functools import cache
from pathlib import Path

from acdc_medsam.project import PACKAGE

_IMPORT = re.compile(
    rf"^[ \t]*(?:from[ \t]+({PACKAGE.name}[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))",
    re.MULTILINE,
)
"""An import statement: the module and what is imported from it, which may take several lines; or the modules."""


@cache  # the stages share most of their modules
def imported_modules(source: Path) -> set[Path]:
    """Return the files of this package that a source file imports, anywhere in it.

    The statements are found by their form: to parse all modules of the package would take 0.1 s of the start of a run.
    """
    names = set()
    # Nothing in an import statement but a comment contains a number sign.
    text = re.sub("#.*", "", source.read_text(encoding="utf-8"))
    for module, imported, modules in _IMPORT.findall(text):
        # Of `name as other`, only the first word is the name.
        members = [part.split()[0] for part in imported.strip("() \n").split(",") if part.strip()]
        names |= {module, *(f"{module}.{member}" for member in members)} if module else set()
        names |= {part.split()[0] for part in modules.split(",") if part.strip()}
    return {path for name in names for path in _module_files(name)}


@cache  # most modules are imported by many others, and looking for a file takes as long as finding its imports
def _module_files(name: str) -> list[Path]:
    """Return the files of a module of this package; none for a module of another package, or for no module."""
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
