"""Which slices of a dataset belong to train, val and test: those that the manifest says, or others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.formats.files import Row, read_sealed


@dataclass(frozen=True)
class Assignment:
    """Which split each slice of a dataset belongs to. The files of the dataset stay where they are.

    Attributes:
        splits: Patient -> ``train``, ``val`` or ``test``; the slices of all other patients are not used. None for the
            splits of the manifest.
        not_trained_on: Patients whose slices are left out of ``train``.
    """

    splits: Mapping[str, str] | None = None
    not_trained_on: frozenset[str] = frozenset()

    def split_of(self, row: Row) -> str:
        """Return the split of a slice, which is empty if the slice is not used.

        Args:
            row: The slice's row in the manifest.
        """
        split = row["split"] if self.splits is None else self.splits.get(row["patient"], "")
        return "" if split == "train" and row["patient"] in self.not_trained_on else split


AS_PUBLISHED = Assignment()
"""The splits of the manifest."""


def read_assignment(path: Path) -> Assignment:
    """Read an assignment from the table of a fold, see :func:`acdc_medsam.stages.folds.write_folds`.

    Raises:
        DatasetError: The table is missing or damaged.
    """
    return Assignment({row["patient"]: row["split"] for row in read_sealed(path)})
