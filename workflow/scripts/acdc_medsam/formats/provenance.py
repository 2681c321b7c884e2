"""The form of provenance.json, for those who write it and those who check a copy against it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FORMAT = 2
"""Raised when a reader of an older format would misunderstand the file."""


def content_digest(content: Mapping[str, Any], time: str) -> str:
    """Hex sha256 over everything that provenance.json says, its time included, and its own digest not."""
    facts = {key: value for key, value in content.items() if key != "written"}
    return hashlib.sha256(json.dumps([facts, time], sort_keys=True).encode()).hexdigest()


def provenance_bytes(content: Mapping[str, Any]) -> bytes:
    """Write the content as JSON with a line for each value, so that two files can be compared line by line."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
