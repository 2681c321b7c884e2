"""The parts of the documentation that are made from the code: all of it is there, and nothing else."""

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

import generate
from acdc_medsam.config import load_schema
from pages import COMMANDS, PAGES, ROOT, as_module, find_commands

PACKAGE = ROOT / "workflow/scripts/acdc_medsam"
SCHEMA = load_schema(generate.SCHEMA)
KEYS: list[tuple[str, Any]] = list(generate.single_keys(SCHEMA, ""))
"""Name of each key with its part of the schema."""

FOR_DEVELOPERS = {"card", "config", "project", "provenance", "report", "runtime", "verify"}
"""Rooms that only the workflow itself uses."""


def test_the_page_of_the_workflow_catalog_is_up_to_date() -> None:
    assert (ROOT / "config/README.md").read_text(encoding="utf-8") == generate.catalog_page(), (
        "run: python docs/generate.py"
    )


def test_every_key_has_its_row_and_every_group_its_sentence() -> None:
    tables = generate.generate("configuration")
    assert re.findall(r"^\| `([\w.]+)` \|", tables, re.MULTILINE) == [
        *(name for name, _ in KEYS if "." not in name),
        *(name for name, _ in KEYS if "." in name),
    ]
    for name, part in KEYS:
        row = next(line for line in tables.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"| `{generate.describe_default(part['default'])}` | {part['x-expected']} |" in row
    assert all(part["description"] in tables for part in SCHEMA["properties"].values() if "properties" in part)


@pytest.mark.parametrize(("name", "part"), KEYS, ids=[name for name, _ in KEYS])
def test_the_accepted_values_name_every_limit(name: str, part: Any) -> None:
    limits = [value for word in ("enum", "minimum", "maximum") for value in listed(part.get(word))]
    limits += [part[word] for word in ("exclusiveMinimum", "exclusiveMaximum") if word in part]
    limits += [value for choice in part.get("oneOf", []) for value in listed(choice.get("const"))]
    accepted = set(re.findall(r"[\w.]+", part["x-expected"]))
    # A count is allowed to say "1 or more" without its technical upper limit.
    unsaid = {str(limit) for limit in limits} - accepted
    assert unsaid <= {"train.epochs": {"100000"}, "train.patients": {"10000"}}.get(name, set())


def listed(value: object) -> list[object]:
    """Return a value as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def test_every_room_for_users_has_a_page_of_reference() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("_")}
    asked = [(path.stem, re.findall(r"<!-- generated: room (\w+) -->", path.read_text())) for path in PAGES]
    described = sorted(rooms - FOR_DEVELOPERS - {"cli"})
    assert [(name, found) for name, found in asked if found] == [(room, [room]) for room in described]


def test_a_room_is_described_with_all_its_modules() -> None:
    reference = generate.generate("room data")
    modules = re.findall(r"^\.\. automodule:: (\S+)$", reference, re.MULTILINE)
    names = sorted(path.stem for path in (PACKAGE / "data").glob("*.py") if not path.name.startswith("_"))
    assert modules == ["acdc_medsam.data", *(f"acdc_medsam.data.{name}" for name in names)]


def test_the_reference_of_the_command_line_is_made_from_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command(epilog="\b\nExample:\n  acdc-medsam verify data/ACDC\n\b\nMore.")
    @click.option("--threads", default=2, help="Number of files read at a time.")
    def command(threads: int) -> None:
        """Compare a dataset with its record."""

    monkeypatch.setattr(generate, "commands", click.Group(commands={"verify": command}))
    reference = generate.generate("command line")
    assert "Usage: acdc-medsam [OPTIONS] COMMAND [ARGS]..." in reference
    assert "### verify\n\n```text\nUsage: acdc-medsam verify [OPTIONS]" in reference
    assert "  --threads INTEGER" in reference and "Example:\n    acdc-medsam verify data/ACDC" in reference

    assert "\b" not in reference


@pytest.mark.parametrize("part", ["room", "rooms data", "nothing"])
def test_an_unknown_part_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match="expected configuration"):
        generate.generate(part)


def test_every_part_that_a_page_asks_for_can_be_made() -> None:
    asked = [part for path in PAGES for part in re.findall(r"<!-- generated: (.+) -->", path.read_text())]
    assert "configuration" in asked and "command line" in asked
    assert all(generate.generate(part) for part in asked if not part.startswith("room"))


def test_commands_are_found_in_blocks_and_sentences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Use `snakemake\n-n`, not `snakemake`.\n\n   ```sh\n   make demo   # draws\n   ```\n"
        "<!-- not tested: needs a cluster -->\n```sh\nsinfo\n```\n```text\nsnakemake images\n```\n"
    )
    monkeypatch.setattr("pages.ROOT", tmp_path)
    found = [(command.text, command.needs) for command in find_commands(page)]
    assert found == [("make demo", ""), ("sinfo", "a cluster"), ("snakemake -n", "")]
    assert as_module("snakemake -n") == "-m snakemake -n"


def test_pages_have_commands() -> None:
    assert len({command.page for command in COMMANDS}) >= 18


def test_the_picture_of_the_first_page_can_be_drawn(tmp_path: Path) -> None:
    script = shutil.copy(ROOT / "docs/draw_example.py", tmp_path)
    runpy.run_path(script, run_name="__main__")
    with Image.open(tmp_path / "example.png") as drawn, Image.open(ROOT / "docs/example.png") as shown:
        assert drawn.size == shown.size
