"""Check a configuration against its schema, and report every mistake with the name of the key."""

import difflib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from acdc_medsam.errors import ConfigError

Config = dict[str, Any]
Schema = Mapping[str, Any]


def _is_number(_: Any, value: Any) -> bool:
    """Whether a value is a finite number. NaN would pass every limit, as it is neither above nor below any."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(_: Any, value: Any) -> bool:
    """Whether a value is an int. 7.0 is one in JSON, but the split hashes the seed as text, where 7.0 is not 7."""
    return isinstance(value, int) and not isinstance(value, bool)


Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"number": _is_number, "integer": _is_integer}
    ),
)


def load_schema(path: Path) -> Schema:
    """Read a JSON schema written as YAML."""
    # Each job reads it again, which takes 3 ms with libyaml and 20 ms without.
    safe_loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    schema: Schema = safe_loader(path.read_text(encoding="utf-8")).get_single_data()
    return schema


def with_defaults(value: Any, schema: Schema) -> Any:
    """Fill in the schema's defaults for missing keys, at every depth.

    Text is parsed as YAML where the schema expects another type: `snakemake --config 'split={seed: 7}'` gives "7".

    Args:
        value: The configuration, or the value of one key; it is not changed.
        schema: The schema, or the part of it for this key.

    Returns:
        A copy of ``value`` with the defaults filled in.
    """
    # Empty text stays text: as YAML it would be null, which some keys accept.
    if value and isinstance(value, str) and "string" not in schema.get("type", "string" if "enum" in schema else ""):
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError:
            return value

    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {"type": "string"})) for item in value]
    if not isinstance(value, Mapping):
        return value

    # Groups of keys have no default of their own, but their keys have.
    defaults = {
        key: with_defaults(value.get(key, part.get("default", {})), part)
        for key, part in schema.get("properties", {}).items()
        if key in value or "default" in part or "properties" in part
    }
    return {**value, **defaults}


def check_config(config: Mapping[str, Any], schema: Schema) -> Config:
    """Return the configuration with defaults filled in.

    Raises:
        ConfigError: Keys are unknown, of the wrong type, or out of range; the message has a line for each.
    """
    complete: Config = with_defaults(config, schema)
    problems = [line for error in Validator(schema).iter_errors(complete) for line in _explain(error)]
    if problems:
        raise ConfigError("configuration refused:\n" + "\n".join(f"  {line}" for line in sorted(problems)))
    return complete


def _explain(error: jsonschema.ValidationError) -> Iterator[str]:
    """Yield a line for each key that a validation error concerns."""
    schema: Any = error.schema
    value: Any = error.instance
    key = ".".join(str(part) for part in error.absolute_path)

    if error.validator == "additionalProperties":
        known = list(schema["properties"])
        for name in sorted(set(value) - set(known), key=str):
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
            yield f"{key}.{name}: unknown key; {hint}".lstrip(".")
        return

    # The validator's own words are the last resort: they do not say what is expected in the user's terms.
    expected = schema.get("x-expected") or error.message
    shown = "null" if value is None else repr(value)
    yield f"{key}: {shown} given; expected {expected}"
