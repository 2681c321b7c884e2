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
    checked = check_config({"split": {"seed": "7", "stratify": "false", "unit": "slice"}}, SCHEMA)
    assert checked["split"] == {"seed": 7, "stratify": False, "unit": "slice", "validation": 0.2}


def nested(key: str, value: Any) -> dict[str, Any]:
    *groups, last = key.split(".")
    inner = {last: value}
    for group in reversed(groups):
        inner = {group: inner}
    return inner


@pytest.mark.parametrize(("key", "part"), keys(SCHEMA))
def test_a_wrong_type_is_refused_by_name(key: str, part: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(nested(key, {"a": 1}), SCHEMA)
    assert f"{key}: {{'a': 1}} given; expected {part['x-expected']}" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("normalize.percentile", 0),
        ("normalize.percentile", 100.5),
        ("images.size", 32),
        ("images.size", 102.4),
        ("split.validation", 1),
        ("split.validation", -0.1),
        ("split.seed", -1),
        ("split.unit", "volume"),
        ("encoder.name", "medsam"),
        ("encoder.sha256", "abc"),
        ("encoder.url", "ftp://host/file"),
        ("encoder.precision", "float64"),
        ("encoder.batch_size", 0),
        ("encoder.patients_per_job", 0),
        ("encoder.device", "gpu"),
        ("publish.link", "soft"),
        ("on_invalid", "ignore"),
        ("exclude", ["patient1"]),
        ("exclude", "patient001"),
    ],
)
def test_an_impossible_value_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"  {key}.* given; expected "):
        check_config(nested(key, value), SCHEMA)


def test_unknown_keys_are_refused_and_the_close_one_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        check_config({"imges": {}, "split": {"sed": 1}, "zzz": 0}, SCHEMA)
    message = str(caught.value)
    assert "imges: unknown key; did you mean 'images'?" in message
    assert "split.sed: unknown key; did you mean 'seed'?" in message
    assert "zzz: unknown key; known keys: raw, output" in message
