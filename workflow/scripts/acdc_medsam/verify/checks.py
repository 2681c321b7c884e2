"""The named checks of stage verify, and what a check remembers."""

import json
from dataclasses import dataclass, field
from pathlib import Path

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
"""Checks that a dataset without embeddings has nothing for."""

Finding = tuple[str, str, str | None]
"""Name of the check, item, and why the item failed (None: it is sound)."""


def size_check(size: int) -> str:
    """Name of the check of image size, which the configuration decides."""
    return f"image {size} x {size}"


@dataclass(frozen=True)
class Expectations:
    """What the configuration asked for, in its own terms."""

    size: int
    keep_empty: bool
    unit: str
    validation: float
    stratify: bool
    embeddings: bool

    @property
    def check_names(self) -> tuple[str, ...]:
        """Every check in the order in which reports list them."""
        return (
            *(RECORDED, READABLE, size_check(self.size), UINT8, SAME_SHAPE, MASK_VALUES, NOT_EMPTY),
            *(EMBEDDING_SHAPED, EMBEDDING_FINITE, EMBEDDING_OWNER, ENCODING, ONE_ENCODING),
            *(HAS_MASK, HAS_EMBEDDING, COUNTS, H5_AGREES, BALANCED, APART, FOLDERS),
        )


@dataclass
class Check:
    """One check: how many items it looked at, which failed and why, or why it does not apply."""

    items: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    skipped: str | None = None

    def look(self, item: str, reason: str | None) -> None:
        """Count an item; ``reason`` says why it failed, None that it is sound."""
        self.items += 1
        if reason is not None:
            self.failed.append({"item": item, "reason": reason})


class Checks(dict[str, Check]):
    """All checks by name, in order."""

    def __init__(self, expected: Expectations) -> None:
        super().__init__((name, Check()) for name in expected.check_names)

    @property
    def passed(self) -> bool:
        """Whether no check that applies has a failed item."""
        return not any(check.failed for check in self.values())


def has_passed(quality: Path) -> bool:
    """Whether ``quality.json`` says that every check passed; a damaged one does not."""
    try:
        return json.loads(quality.read_text(encoding="utf-8"))["passed"] is True
    except (OSError, ValueError, LookupError, TypeError):
        return False
