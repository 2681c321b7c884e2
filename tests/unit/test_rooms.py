"""Layers of the package: no module imports from a room above its own or beside it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "workflow/scripts/acdc_medsam"
FLOORS = (
    {"errors", "project"},
    {"config", "formats"},
    {"runtime"},
    {"acdc"},
    {"layout"},
    {"encoders"},
    {"data", "measures"},
    {"stages"},
    {"verify"},
    {"card", "exports", "hub", "phantom", "provenance", "report"},
    {"train"},
    {"evaluate", "onnx_export"},
    {"benchmark", "predict", "view"},
    {"cli"},
    {"__main__"},
)
"""Rooms on each floor, from the bottom to the top."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(source: Path) -> str:
    return source.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: Path) -> set[str]:
    nodes = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[1] for name in names if name.startswith("acdc_medsam.")} - {room_of(source)}


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_no_import_goes_up_or_sideways(room: str) -> None:
    sources = [source for source in PACKAGE.rglob("*.py") if room_of(source) == room]
    assert sources
    for source in sources:
        too_high = {other for other in imported_rooms(source) if FLOOR[other] >= FLOOR[room]}
        assert not too_high, source.relative_to(PACKAGE)


def test_every_room_has_a_floor_and_the_top_is_small() -> None:
    rooms = {room_of(source) for source in PACKAGE.rglob("*.py")}
    assert rooms == {*FLOOR, "__init__"}
    assert len(list(PACKAGE.glob("*.py"))) <= 10
