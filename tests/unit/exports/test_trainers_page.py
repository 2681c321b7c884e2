"""What docs/trainers.md shows runs on an export, and its commands name files of the exports."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from acdc_medsam.exports.registry import LAYOUTS
from exported import Exports
from workflow_run import SERVER

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/trainers.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", PAGE, re.MULTILINE))
EXPORTED = re.compile(r"data/exports/(\w+)[\w/.{}-]*")


@pytest.mark.parametrize("section", SECTIONS)
def test_an_example_runs_on_the_export(exports: Exports, section: str) -> None:
    example = re.search(r"```python\n(.*?)```", SECTIONS[section], re.DOTALL)
    assert example is not None
    for name in set(EXPORTED.findall(example[1])):
        exports.make(name)
    script = exports.small.output / "example.py"
    script.write_text(example[1])
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow/scripts")}
    process = subprocess.run(
        [SERVER.python(), str(script)], cwd=script.parent, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout


@pytest.mark.parametrize("section", SECTIONS)
def test_a_command_names_what_the_export_has(exports: Exports, section: str) -> None:
    commands = "".join(re.findall(r"```(?:sh|yaml)\n(.*?)```", SECTIONS[section], re.DOTALL))
    for path in EXPORTED.finditer(commands):
        exports.make(path[1])
        assert (exports.small.output / path[0]).exists(), path[0]


def test_every_target_is_on_the_page() -> None:
    assert set(LAYOUTS) <= set(re.findall(r"`(\w+)`", PAGE))
