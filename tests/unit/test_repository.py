"""What services read from the repository is right: GitHub, PyPI, Zenodo, and the catalog of Snakemake workflows."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import get_argument_parser

import generate
from acdc_medsam import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CI = (ROOT / ".ci/run").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    """Yield the steps of all jobs of a workflow."""
    for job in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values():
        yield from job.get("steps", [])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_of_a_workflow_is_a_target_that_ci_runs(workflow: Path) -> None:
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    assert commands
    for command in commands:
        target = re.fullmatch(r"make (\w+)", command)
        assert target is not None
        assert re.search(rf"^{command}$", CI, re.MULTILINE), f"{command} is not in .ci/run"
        assert re.search(rf"^{target[1]}:", MAKEFILE, re.MULTILINE)


def test_the_workflows_run_all_that_ci_runs() -> None:
    commands = {step.get("run") for workflow in WORKFLOWS for step in steps(workflow)}
    assert set(re.findall(r"^make .*$", CI, re.MULTILINE)) <= commands


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_few_rights_and_ends(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 90, name
        assert all(re.fullmatch(r"[\w./-]+@[\w./]+", step["uses"]) for step in job.get("steps", []) if "uses" in step)


def test_a_release_is_tested_before_it_is_published() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["tests"]["uses"] == "./.github/workflows/tests.yml"
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        **dict.fromkeys(("wheel", "image", "pages"), "tests"),
        "pypi": "wheel",
        "tests": None,
    }
    # A password of PyPI would be a secret; a trusted publisher needs none.
    assert re.findall(r"secrets\.(\w+)", (ROOT / ".github/workflows/release.yml").read_text()) == ["GITHUB_TOKEN"]


def test_python_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    content = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert content["jobs"]["test"]["strategy"]["matrix"]["python"] == named


def test_the_record_of_zenodo_is_that_of_the_citation() -> None:
    assert (ROOT / ".zenodo.json").read_text(encoding="utf-8") == generate.zenodo_record(), (
        "run: python docs/generate.py"
    )
    assert CITATION["version"] == __version__


def test_the_citation_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (CITATION["abstract"], CITATION["license"]) == (project["description"], project["license"])
    assert [author["name"] for author in CITATION["authors"]] == [author["name"] for author in project["authors"]]


def test_the_catalog_says_what_the_workflow_has() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    deployment = usage["software-stack-deployment"]
    snakefile = (ROOT / "Snakefile").read_text(encoding="utf-8")
    assert deployment["conda"] == (ROOT / "envs/acdc-medsam.yaml").exists()
    assert deployment["apptainer"] == ("\ncontainer:" in snakefile)
    assert deployment["report"] == ("\nreport:" in snakefile)

    flags = get_argument_parser().parse_args(shlex.split(usage["mandatory-flags"]["flags"]))
    assert flags.resources == {"gpu": 1}
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in readme and "workflow" in readme and (ROOT / "config/README.md").exists()


def test_every_form_asks_for_what_is_needed() -> None:
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert {form.stem for form in forms} == {"bug", "feature"}
    for form in forms:
        body = yaml.safe_load(form.read_text(encoding="utf-8"))["body"]
        assert any(field.get("validations", {}).get("required") for field in body)
        identities = [field["id"] for field in body if "id" in field]
        assert len(identities) == len(set(identities))


def test_templates_name_targets_and_files_that_exist() -> None:
    for path in (ROOT / ".github").rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"`make (\w+)`", text):
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), path
        for name in re.findall(r"\b(?:docs/)?[\w]+\.(?:md|yaml)\b", text):
            assert (ROOT / name).exists(), (path, name)


def test_lint_checks_these_files_against_their_schemas() -> None:
    checked = dict(re.findall(r"check-jsonschema --builtin-schema (\S+) (\S+)", MAKEFILE))
    assert checked.keys() == {
        *(f"vendor.github-{name}" for name in ("workflows", "issue-forms", "issue-config")),
        "vendor.citation-file-format",
    }
    assert all(list(ROOT.glob(pattern)) for pattern in checked.values())
