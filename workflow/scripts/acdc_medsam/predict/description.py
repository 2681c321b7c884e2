"""Stand-in."""

from collections.abc import Mapping
from typing import Any

from acdc_medsam.predict.scan import Segmented


def describe_scan(segmented: Segmented, training: Mapping[str, Any] | None) -> dict[str, Any]:
    """Describe a scan."""
    return {"name": segmented.scan.name, "subject": segmented.scan.subject}
