import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from acdc_medsam.config import check_config, load_schema
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import ConfigError

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())


def keys(schema: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, part in schema["properties"].items():
        found += keys(part, f"{prefix}{name}.") if "properties" in part else [(f"{prefix}{name}", part)]
    return found


def test_config_yaml_holds_every_key_with_its_default() -> None:
    assert check_config({}, SCHEMA) == CONFIG == check_config(CONFIG, SCHEMA)


def test_every_key_is_described() -> None:
    for name, part in keys(SCHEMA):
        assert part["description"] and part["x-expected"], name


def test_the_schema_knows_every_encoder() -> None:
    named = SCHEMA["properties"]["encoder"]["properties"]["name"]["enum"]
    assert named == [*ENCODERS, "none"]


def test_values_from_the_command_line_are_text() -> None:
    checked = check_config({"split": {"seed": "7", "stratify": "false", "unit": "slice", "fold": "null"}}, SCHEMA)
    assert checked["split"] == CONFIG["split"] | {"seed": 7, "stratify": False, "unit": "slice"}
    assert check_config({"split": {"scheme": "nnunet", "fold": "3"}}, SCHEMA)["split"]["fold"] == 3
    assert check_config({"benchmark": {"folds": ["0", "2"]}}, SCHEMA)["benchmark"]["folds"] == [0, 2]
    assert check_config({"exclude": ["patient001"]}, SCHEMA)["exclude"] == ["patient001"]


def nested(key: str, value: Any) -> dict[str, Any]:
    *groups, last = key.split(".")
    inner = {last: value}
    for group in reversed(groups):
        inner = {group: inner}
    return inner


WRONG_TYPES: tuple[Any, ...] = (
    *(None, True, 7, 7.5, math.nan, math.inf, "", "text", [], [1], [None], {"a": 1}),
    *(datetime.date(2026, 1, 1), b"bytes", "!!python/object:x", "{", "x\ny"),
)


def out_of_range(part: Any) -> Iterator[Any]:
    """Yield values of the right type that the schema of a key rules out, derived from the schema itself."""
    step = 1 if part.get("type") == "integer" else 0.01
    if "minimum" in part:
        yield part["minimum"] - step
    if "maximum" in part:
        yield part["maximum"] + step
    yield from (part[limit] for limit in ("exclusiveMinimum", "exclusiveMaximum") if limit in part)
    yield from (value.upper() for value in part.get("enum", []))
    yield from ([value] for value in part.get("enum", []))
    for option in part.get("oneOf", []):
        yield from out_of_range(option)
    if "pattern" in part:
        yield from ("{", "a\x00b", "text\n", str(part["default"]) + "\n")
    if part.get("type") == "array":
        yield from (["patient1"], ["patient001\n"], ["patient001", "patient001"], "patient001")


def is_allowed(part: Any, value: Any) -> bool:
    """Whether a key is meant to accept a value, by an interpretation of the schema independent of the validator."""
    if "enum" in part:
        return value in part["enum"] and not isinstance(value, bool)
    if "oneOf" in part:
        return value == "auto" or (type(value) is int and 1 <= value <= part["oneOf"][1]["maximum"])
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "null": type(None)}
    wanted = [part["type"]] if isinstance(part["type"], str) else part["type"]
    if not any(isinstance(value, kinds[kind]) and (kind == "boolean" or value is not True) for kind in wanted):
        return False
    if isinstance(value, str):
        return bool(value) and value.isprintable() and "{" not in value and "default" in part \
            and (not part["x-expected"].startswith(("64", "an address", "auto, cpu")))  # fmt: skip
    if isinstance(value, list):
        return bool(value) and all(type(one) is int for one in value) if "minItems" in part else value == []
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum", math.inf)
        return math.isfinite(value) and low <= value <= high
    return True


@pytest.mark.parametrize(("key", "part"), keys(SCHEMA))
def test_each_invalid_value_is_refused_with_the_name_of_its_key(key: str, part: Any) -> None:
    """The values are derived from the schema, so that new keys are covered automatically."""
    refused = 0
    for value in [*(v for v in WRONG_TYPES if not is_allowed(part, v)), *out_of_range(part)]:
        with pytest.raises(ConfigError) as caught:
            check_config(nested(key, value), SCHEMA)
        lines = str(caught.value).split("\n  ")[1:]
        assert any(line.startswith(key) and " given; expected " in line for line in lines), (value, lines)
        refused += 1
    assert refused > 8
    assert f"{{'a': 1}} given; expected {part['x-expected']}" in refusal(key, {"a": 1})


def refusal(key: str, value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check_config(nested(key, value), SCHEMA)
    return str(caught.value)


@pytest.mark.parametrize("key", [key for key, _ in keys(SCHEMA)])
def test_a_misspelled_key_is_refused_and_the_right_one_named(key: str) -> None:
    *groups, last = key.split(".")
    misspelled = ".".join([*groups, last[:-1] + last[-1] * 2])
    assert f"  {misspelled}: unknown key; did you mean '{last}'?" in refusal(misspelled, 1)


@pytest.mark.parametrize("group", [name for name, part in SCHEMA["properties"].items() if "properties" in part])
@pytest.mark.parametrize("value", [None, 7, "text", [], True])
def test_a_group_must_be_a_mapping(group: str, value: Any) -> None:
    assert f"  {group}: " in refusal(group, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder.sha256", "A" * 64),
        ("encoder.url", "https://host/a b".replace(" ", "%20")),
        ("encoder.device", "cuda:1"),
    ],
)
def test_unusual_but_valid_values_are_accepted(key: str, value: Any) -> None:
    group, name = key.split(".")
    assert check_config(nested(key, value), SCHEMA)[group][name] == value


def test_unknown_keys_are_refused_and_the_close_one_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        check_config({"imges": {}, "split": {"sed": 1}, "zzz": 0}, SCHEMA)
    message = str(caught.value)
    assert "imges: unknown key; did you mean 'images'?" in message
    assert "split.sed: unknown key; did you mean 'seed'?" in message
    assert "zzz: unknown key; known keys: raw, output" in message
