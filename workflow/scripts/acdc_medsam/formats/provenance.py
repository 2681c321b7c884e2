"""Format of provenance.json, shared by its writer and by the check of a copy against it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FORMAT = 2
"""Version of the format; increased when a reader of an older version would misunderstand the file."""


def content_digest(content: Mapping[str, Any], time: str) -> str:
    """Return the hex sha256 of everything in provenance.json, including its time but not this digest itself."""
    facts = {key: value for key, value in content.items() if key != "written"}
    return hashlib.sha256(json.dumps([facts, time], sort_keys=True).encode()).hexdigest()


def provenance_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the content as JSON with a line for each value, so that two files can be compared line by line."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
