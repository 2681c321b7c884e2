"""Write the parts of the documentation that are made from the code, so that they cannot disagree with it.

A page holds a line such as ``<!-- generated: configuration -->``, which this module turns into Markdown when the pages
are built. What others read from the repository is written by ``python docs/generate.py``: ``config/README.md`` for the
workflow catalog, and ``.zenodo.json`` for Zenodo.
"""

import json
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import yaml

from acdc_medsam.cli import commands
from acdc_medsam.config import Schema, load_schema

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
CITATION = ROOT / "CITATION.cff"
CATALOG_PAGE = ROOT / "config/README.md"
ZENODO = ROOT / ".zenodo.json"
HELP_WIDTH = 88
"""Columns of the help of a command, as many as fit on a page."""

CATALOG_INTRODUCTION = """# Configuration

Edit `config.yaml` at the root of the repository, or overlay single keys of it with `--configfile mine.yaml`. The only
key that most users change is `raw`, the folder with the dataset. A misspelled key or an impossible value stops the run
before its first job.

This page is written by `python docs/generate.py` from `workflow/schemas/config.schema.yaml`.
"""


SINGLE_KEYS = "What goes in, where the result goes, and which patients are left out."


def describe_default(value: object) -> str:
    """Return a default as it is written in YAML."""
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def configuration_row(name: str, schema: Mapping[str, Any]) -> str:
    """Return the row of a key: its name, default, accepted values and meaning."""
    cells = (f"`{name}`", f"`{describe_default(schema['default'])}`", schema["x-expected"], schema["description"])
    return f"| {' | '.join(' '.join(cell.split()) for cell in cells)} |"


def configuration_tables(schema: Schema) -> str:
    """Return one table of keys for each group of the configuration, as Markdown.

    Args:
        schema: The schema of the configuration.

    Returns:
        Sections of the second level, the first of which has the keys without a group.
    """
    properties = schema["properties"]
    single = {name: part for name, part in properties.items() if "properties" not in part}
    groups: dict[str, Schema] = {"": {"description": SINGLE_KEYS, "properties": single}}
    groups |= {name: part for name, part in properties.items() if "properties" in part}

    lines: list[str] = []
    for group, part in groups.items():
        prefix = f"{group}." if group else ""
        # The name alone would become the identifier of an element, and scripts take `exports` for a variable of theirs.
        lines += ["", f"## Keys of {group}" if group else "## Input and output", "", part["description"], ""]
        lines += ["| key | default | accepted values | meaning |", "| --- | --- | --- | --- |"]
        lines += [configuration_row(name, key) for name, key in single_keys(part, prefix)]
    return "\n".join(lines).strip() + "\n"


def single_keys(group: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
    """Yield the whole name and the schema of each key of a group, and of the groups within it."""
    for name, part in group["properties"].items():
        if "properties" in part:
            yield from single_keys(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def module_names(room: str) -> Iterator[str]:
    """Yield the modules of a room that can be imported by name, the room itself first."""
    name = f"acdc_medsam.{room}"
    yield name
    for module in pkgutil.iter_modules(getattr(import_module(name), "__path__", [])):
        if not module.name.startswith("_"):
            yield f"{name}.{module.name}"


def room_reference(room: str) -> str:
    """Return the reference of a room of the package: what Sphinx reads from the docstrings of its modules."""
    blocks: list[str] = []
    first, *others = module_names(room)
    for name in (first, *others):
        # A room's own module only passes on names of its other modules.
        options = [] if others and name == first else ["   :members:"]
        title = [] if name == first else [f"## {name.removeprefix('acdc_medsam.')}", ""]
        blocks += [*title, "```{eval-rst}", f".. automodule:: {name}", *options, "```", ""]
    return "\n".join(blocks)


def help_block(context: click.Context) -> str:
    """Return the help of a command as a block of text, without the marks by which click keeps line breaks."""
    return f"```text\n{context.get_help()}\n```\n".replace("\b", "")


def command_line_reference() -> str:
    """Return the help of each command of ``acdc-medsam``, as the command line shows it."""
    program = click.Context(commands, info_name="acdc-medsam", terminal_width=HELP_WIDTH)
    blocks = [help_block(program)]
    for name in commands.list_commands(program):
        command = commands.get_command(program, name)
        if command is not None:
            context = click.Context(command, program, name, terminal_width=HELP_WIDTH)
            blocks += [f"### {name}\n", help_block(context)]
    return "\n".join(blocks)


def generate(part: str) -> str:
    """Return what stands for ``<!-- generated: part -->`` on a page.

    Args:
        part: ``configuration``, ``command line``, or ``room`` and the name of a room.

    Raises:
        ValueError: There is no such part.
    """
    if part == "configuration":
        return configuration_tables(load_schema(SCHEMA))
    if part == "command line":
        return command_line_reference()
    word, _, room = part.partition(" ")
    if word == "room" and room:
        return room_reference(room)
    raise ValueError(f"{part!r} given; expected configuration, command line, or room and a name")


def catalog_page() -> str:
    """Return the configuration page of the workflow catalog."""
    return f"{CATALOG_INTRODUCTION}\n{generate('configuration')}"


def zenodo_record() -> str:
    """Return the metadata that Zenodo gives to an archived release, as JSON: those of CITATION.cff."""
    citation = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    record = {
        "title": citation["title"],
        "description": citation["abstract"],
        "upload_type": citation["type"],
        "version": citation["version"],
        "license": citation["license"],
        "creators": [{"name": author["name"]} for author in citation["authors"]],
        "keywords": citation["keywords"],
        "related_identifiers": [
            {"scheme": "doi", "identifier": reference["doi"], "relation": "cites"}
            for reference in citation["references"]
        ],
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    CATALOG_PAGE.write_text(catalog_page(), encoding="utf-8")
    ZENODO.write_text(zenodo_record(), encoding="utf-8")
