"""Conda environments and the container image hold what pyproject.toml asks for, as far as reading them shows."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from oldest import oldest_requirements

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"isal": "python-isal", "torch": "pytorch", "matplotlib": "matplotlib-base"}
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")


def bounds(requirements: list[str]) -> dict[str, str]:
    """Package -> lower bound."""
    found = dict(requirement.split(">=") for requirement in requirements)
    assert len(found) == len(requirements)
    return {CONDA_NAMES.get(name, name): bound for name, bound in found.items()}


def environment(name: str) -> dict[str, str]:
    return bounds(yaml.safe_load((ROOT / "envs" / name).read_text())["dependencies"])


def pinned() -> dict[str, str]:
    """Package -> version in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def instructions() -> list[list[str]]:
    """The Dockerfile's instructions, each as its words."""
    lines = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    return [line.split(maxsplit=1) for line in lines]


def test_conda_environments_have_the_bounds_of_the_project() -> None:
    python = {"python": PROJECT["requires-python"].removeprefix(">=")}
    project = bounds(PROJECT["dependencies"]) | python
    extras = PROJECT["optional-dependencies"]
    assert environment("slurm.yaml") == project | bounds(extras["slurm"])
    # The command line, Snakemake, and pygments for its reports work outside of the jobs' environment.
    del project["click"], project["snakemake"], project["pygments"]
    assert environment("acdc-medsam.yaml") == project | bounds(extras["zarr"])
    assert environment("train.yaml") == project | bounds(extras["train"])


def test_constraints_pin_what_the_project_asks_for() -> None:
    versions = {re.sub("[_.]", "-", name).lower(): version for name, version in pinned().items()}
    extras = PROJECT["optional-dependencies"]
    shipped = ("hub", "onnx", "slurm", "train", "view", "zarr")
    assert {name for extra in shipped for name in extras[extra]} <= set(extras["dev"])
    for requirement in [*PROJECT["dependencies"], *extras["dev"], *extras["docs"]]:
        name, _, bound = requirement.partition(">=")
        number = [int(part) for part in re.findall(r"\d+", versions[name])]
        assert number >= [int(part) for part in re.findall(r"\d+", bound)], requirement


def test_the_oldest_versions_are_the_bounds_of_all_requirements() -> None:
    extras = PROJECT["optional-dependencies"]
    asked = {*PROJECT["dependencies"], *extras["dev"]} - {*extras["slurm"]}
    pins = {requirement.replace(">=", "==") for requirement in asked if not requirement.startswith("torch>")}
    assert set(oldest_requirements()) == pins | {f"torch=={pinned()['torch']}"}


def test_the_entry_file_refuses_a_snakemake_below_the_bound() -> None:
    version = re.search(r'min_version\("(.*)"\)', (ROOT / "Snakefile").read_text())
    assert version is not None and f"snakemake>={version[1]}" in PROJECT["dependencies"]


def test_the_dockerfile_copies_files_that_are_there() -> None:
    copied = dict(instructions())["COPY"].split()[:-1]
    assert all((ROOT / path).is_file() for path in copied)
    assert (ROOT / ".dockerignore").read_text().split() == ["*", *(f"!{path}" for path in copied)]


def test_the_dockerfile_has_known_instructions_and_a_python() -> None:
    names = [name for name, _ in instructions()]
    assert names == ["FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER"]
    base = re.fullmatch(r"python:(\d+\.\d+)-slim-bookworm", instructions()[0][1])
    assert base is not None and base[1] == PROJECT["requires-python"].removeprefix(">=")


def test_the_dockerfile_installs_requirements_at_pinned_versions(tmp_path: Path) -> None:
    """Run what its RUN line says, with a pip that only says what it was asked for."""
    for path in ("pyproject.toml", "constraints.txt"):
        (tmp_path / path).write_bytes((ROOT / path).read_bytes())
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "pip").write_text('#!/bin/sh\necho "$@"\n')
    (tools / "pip").chmod(0o755)
    (tools / "python").symlink_to(sys.executable)
    command = dict(instructions())["RUN"]
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    asked = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    words = shlex.split(asked.stdout)
    assert words[0] == "install" and words[words.index("--constraint") + 1] == "constraints.txt"
    requirements = tmp_path / words[words.index("--requirement") + 1]
    assert requirements.read_text().splitlines() == PROJECT["dependencies"]
