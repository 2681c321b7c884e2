"""Build hook of Hatchling: in a wheel, the package holds the files of the workflow in its folder ``project``.

They have the same tree there as in a checkout; ``acdc_medsam/project.py`` finds them in both.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PATTERNS = (
    *("Snakefile", "config.yaml", "demo/config.yaml", "envs", "profiles"),
    *("workflow/report", "workflow/rules", "workflow/schemas", "workflow/view", "workflow/scripts/*.py"),
)


class ProjectFiles(BuildHookInterface[Any]):
    """Adds the files of the workflow to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add; an editable installation uses those of the checkout."""
        if version == "standard":
            root = Path(self.root)
            paths = [path for pattern in PATTERNS for path in root.glob(pattern)]
            targets = {str(path): f"acdc_medsam/project/{path.relative_to(root)}" for path in paths}
            build_data["force_include"].update(targets)
