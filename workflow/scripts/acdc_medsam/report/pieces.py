"""Pieces of the page that take long to draw, kept from report to report: each one is drawn again only if it changes.

A piece is found by a digest of what it shows. The file of pieces holds those of the last report and no others.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from acdc_medsam.formats.files import seal, unseal, write_bytes

Piece = dict[str, str]
"""Parts of a piece, such as an SVG element or the ``data:`` URL of a picture: name -> text."""

PACKAGES = ("matplotlib", "numpy", "pillow", "scikit-image")
"""Packages whose versions may affect how a piece looks."""


class Pieces:
    """Pieces of the last report, and those of the one that is being written."""

    def __init__(self, path: Path, code: str) -> None:
        """Read the pieces of the last report.

        Args:
            path: The file that :meth:`save` writes. If it is missing or damaged, every piece is drawn again.
            code: Hash of the code that draws. Pieces that other code has drawn are drawn again.
        """
        self._path = path
        self._maker = digest(code, *(metadata.version(package) for package in PACKAGES))
        self._before = self._read()
        self._shown: dict[str, Piece] = {}

    def _read(self) -> dict[str, Piece]:
        try:
            kept = json.loads(unseal(self._path.read_bytes()) or b"{}")
        except (OSError, ValueError):
            return {}
        # The seal is a sha256, so what this class has written is as it was then.
        return kept["pieces"] if isinstance(kept, dict) and kept.get("maker") == self._maker else {}

    def look_up(self, shown: str, draw: Callable[[], Piece]) -> Piece:
        """Return a piece, which is drawn if the last report did not show it. May be called by several threads.

        Args:
            shown: Digest of everything that the piece depends on besides the code, see :func:`digest`.
            draw: Function that draws the piece.
        """
        piece = self._shown.get(shown) or self._before.get(shown) or draw()
        self._shown[shown] = piece
        return piece

    def describe(self) -> str:
        """Say how many pieces were drawn and how many were not."""
        kept = len(self._shown.keys() & self._before.keys())
        return f"drew {len(self._shown) - kept} pieces, kept {kept}"

    def save(self) -> None:
        """Write the pieces that were looked up, and no others, in place of those of the last report."""
        if self._shown.keys() != self._before.keys():
            content = {"maker": self._maker, "pieces": self._shown}
            # Sorted, because the threads look pieces up in another order each time.
            write_bytes(self._path, seal(json.dumps(content, sort_keys=True).encode()))


def digest(*values: object) -> str:
    """Compute a hex sha256 over texts, numbers and arrays, and over sequences and mappings of them.

    Raises:
        ValueError: There is a value of another type.
    """
    hashed = hashlib.sha256()
    for part in _list_parts(values):
        # The length separates a part from the next one.
        hashed.update(f"{len(part)} ".encode() + part)
    return hashed.hexdigest()


def _list_parts(value: object) -> list[bytes]:
    """Turn a value into bytes that no other value gives."""
    if isinstance(value, np.ndarray):
        return [f"array {value.dtype.str} {value.shape}".encode(), value.tobytes()]
    if isinstance(value, np.generic):
        return _list_parts(value.item())
    if value is None or isinstance(value, str | bool | int | float):
        return [f"{type(value).__name__} {value!r}".encode()]
    if isinstance(value, Mapping):
        value = [*value.items()]
    if isinstance(value, Sequence):
        return [f"{len(value)} values".encode(), *(part for one in value for part in _list_parts(one))]
    raise ValueError(f"no digest of {type(value).__name__}")
