"""What CONTRIBUTING.md says of the code is so: the files it names exist, and its tree has every room in its place."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow/scripts/acdc_medsam"
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^### ((?:Add|Prepare) .*)$", PAGE, re.MULTILINE)


def named_files(text: str) -> list[str]:
    """Paths in backticks, without those that have a name to fill in, such as ``encoders/<name>.py``."""
    found: list[str] = re.findall(r"`([\w.-]+/[\w./-]+|[\w-]+\.(?:md|toml|txt|yaml|smk|py))`", text)
    return found


MADE = ("demo/out", "demo/predictions", "docs/_build")
"""Folders that commands make."""


def exists(path: str) -> bool:
    """Whether a path exists in the repository, in the package, or, as a file's name alone, in a folder of either."""
    if "/" in path or (ROOT / path).exists():
        return (ROOT / path).exists() or (PACKAGE / path).exists() or path.startswith(MADE)
    return any((ROOT / "workflow").rglob(path))


def rooms_by_floor() -> list[set[str]]:
    """The rooms on each line of the page's tree."""
    tree = re.search(r"^### The package$.*?^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert tree is not None
    return [set(re.split(r"  +", line)[0].split(", ")) for line in tree[1].splitlines()]


def test_every_file_named_exists() -> None:
    named = named_files(PAGE)
    assert len(set(named)) >= 25
    assert [path for path in named if not exists(path)] == []


def test_every_room_of_the_package_is_in_the_tree_once() -> None:
    named = [room for floor in rooms_by_floor() for room in floor]
    paths = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert sorted(named) == sorted(path.stem for path in paths if path.name != "__init__.py")


def test_the_tree_has_the_order_of_imports() -> None:
    source = (ROOT / "tests/unit/test_rooms.py").read_text(encoding="utf-8")
    floors = re.search(r"^FLOORS = \((.*?)^\)$", source, re.MULTILINE | re.DOTALL)
    assert floors is not None
    assert rooms_by_floor() == [set(re.findall(r'"(\w+)"', line)) for line in floors[1].strip().splitlines()]


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    explained = set(re.findall(r"^\| `make ([a-z-]+)` \|", PAGE, re.MULTILINE))
    assert explained == set(phony[1].split()) - {"help"}
    printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z-]+)  ", printed, re.MULTILINE)) == explained


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_lists_the_files_that_it_touches(recipe: str) -> None:
    section = PAGE.split(f"### {recipe}\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert 3 <= len(rows) <= (6 if "dataset" in recipe else 7), recipe


def test_there_are_six_recipes() -> None:
    assert len(RECIPES) == 6
