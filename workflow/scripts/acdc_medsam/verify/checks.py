"""The named checks of stage verify, and the items that each check has looked at."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from acdc_medsam.stages.split_rule import SplitRule

RECORDED = "files are what was made, to the byte"
READABLE = "PNGs readable"
UINT8 = "image uint8"
SAME_SHAPE = "mask shape equals image shape"
MASK_VALUES = "mask values within {0, 1, 2, 3}"
NOT_EMPTY = "mask not empty"
EMBEDDING_SHAPED = "embedding [256, 64, 64]"
EMBEDDING_FINITE = "embedding float32 and finite"
EMBEDDING_OWNER = "embedding belongs to the image beside it"
HAS_MASK = "each image has its mask"
HAS_EMBEDDING = "each image has its embedding"
COUNTS = "equal counts of images, masks and embeddings"
ENCODING = "positional encoding there and [1, 256, 64, 64]"
ONE_ENCODING = "one shared positional encoding"
H5_AGREES = "H5 slices, volumes and PNGs agree in number and labels"
BALANCED = "split balanced"
APART = "no patient in two splits"
FOLDERS = "directories as specified and nothing else in them"

OF_EMBEDDINGS = (EMBEDDING_SHAPED, EMBEDDING_FINITE, EMBEDDING_OWNER, HAS_EMBEDDING, ENCODING, ONE_ENCODING)
"""Checks that do not apply to a dataset without embeddings."""

Finding = tuple[str, str, str | None]
"""Name of the check, the item, and the reason why the item failed, or None if it passed."""


def size_check(size: int) -> str:
    """Return the name of the check of the image size, which contains the configured size in pixels."""
    return f"image {size} x {size}"


@dataclass(frozen=True)
class Expectations:
    """What the configuration asks of the dataset.

    Attributes:
        size: Side of the published images in pixels (``images.size``).
        keep_empty: Whether slices without structures are kept (``images.keep_empty``).
        embeddings: Whether the dataset has image embeddings.
        split: How the dataset is split.
    """

    size: int
    keep_empty: bool
    embeddings: bool
    split: SplitRule

    @property
    def check_names(self) -> tuple[str, ...]:
        """Names of all checks, in the order in which reports list them."""
        return (
            *(RECORDED, READABLE, size_check(self.size), UINT8, SAME_SHAPE, MASK_VALUES, NOT_EMPTY),
            *(EMBEDDING_SHAPED, EMBEDDING_FINITE, EMBEDDING_OWNER, ENCODING, ONE_ENCODING),
            *(HAS_MASK, HAS_EMBEDDING, COUNTS, H5_AGREES, BALANCED, APART, FOLDERS),
        )


@dataclass
class Check:
    """The outcome of one check.

    Attributes:
        items: Number of items that the check looked at.
        failed: The items that failed, each with the reason.
        skipped: Reason why the check does not apply, or None if it does.
    """

    items: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    skipped: str | None = None

    def add(self, item: str, reason: str | None) -> None:
        """Add an item that was looked at.

        Args:
            item: Name of the item.
            reason: Reason why it failed, or None if it passed.
        """
        self.items += 1
        if reason is not None:
            self.failed.append({"item": item, "reason": reason})


class Checks(dict[str, Check]):
    """All checks by name, in the order of reports."""

    def __init__(self, expected: Expectations) -> None:
        super().__init__((name, Check()) for name in expected.check_names)

    @property
    def passed(self) -> bool:
        """Whether no check has a failed item."""
        return not any(check.failed for check in self.values())


def has_passed(quality: Path) -> bool:
    """Tell whether ``quality.json`` says that every check passed. A missing or damaged file says no such thing."""
    try:
        # Compared by identity, because any other value, such as a text, would count as true.
        return json.loads(quality.read_text(encoding="utf-8"))["passed"] is True
    except (OSError, ValueError, LookupError, TypeError):
        return False
