"""The files of the workflow that are not Python modules: Snakefile, rules, scripts, profiles, templates, schemas.

They are never in two places. In a checkout, they are around this package; in an installation, the package holds them in
its folder ``project``, in the same tree. So a checkout runs its own code, and so does an installation.
"""

from pathlib import Path

PACKAGE = Path(__file__).parent

_INSTALLED = PACKAGE / "project"

IS_INSTALLED = _INSTALLED.is_dir()
"""Whether this package was installed from a wheel, and is not that of a checkout."""

PROJECT = _INSTALLED if IS_INSTALLED else PACKAGE.parents[2]
"""Folder that holds ``Snakefile``, ``config.yaml``, ``workflow/``, ``profiles/``, ``envs/`` and ``demo/``."""
