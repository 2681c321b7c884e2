"""Print the lowest versions that pyproject.toml allows, for `make test-oldest`."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def oldest_requirements() -> list[str]:
    """Turn each lower bound of pyproject.toml into a pin.

    The extra `slurm` is left out, because its plugin requires a later NumPy and PyYAML than the workflow does.

    Returns:
        One requirement for each dependency of the project and of its extra `dev`; one without a bound is unchanged.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {*project["dependencies"], *extras["dev"]} - {*extras["slurm"]}
    pins = {line.partition("==")[0]: line for line in (ROOT / "constraints.txt").read_text().splitlines()}

    # torch comes from constraints.txt, because its old CPU builds are not on every index.
    return sorted(pins["torch"] if name.startswith("torch>") else name.replace(">=", "==") for name in wanted)


if __name__ == "__main__":
    print("\n".join(oldest_requirements()))
