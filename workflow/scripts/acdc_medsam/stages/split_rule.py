"""How a dataset is split: the schemes, and the rule that the configuration makes of one of them."""

from dataclasses import dataclass
from typing import Any

from acdc_medsam.acdc.splits import PUBLISHED_SPLITS, PublishedSplit
from acdc_medsam.stages.stratified import FOLDS

STRATIFIED = "stratified"
FILE = "file"
SCHEMES = (STRATIFIED, *PUBLISHED_SPLITS, FILE)
"""Values of ``split.scheme``."""


@dataclass(frozen=True)
class SplitRule:
    """How a dataset is split: what the group ``split`` of the configuration says.

    Attributes:
        scheme: One of SCHEMES.
        fold: Number of the fold that is ``val``; None for a scheme without folds, or for a share of the patients.
        unit: ``patient`` keeps all slices of a patient in one split; ``slice`` distributes slices without strata.
        validation: Fraction of the training patients or slices that goes to val, in [0, 1).
        seed: Seed of the ranking.
        stratify: Whether each group gets its proportional share; used for the unit ``patient`` alone.
        file: Name of the table of the scheme ``file``.
        file_sha256: Hex sha256 of this table.
    """

    scheme: str = STRATIFIED
    fold: int | None = None
    unit: str = "patient"
    validation: float = 0.2
    seed: int = 2026
    stratify: bool = True
    file: str | None = None
    file_sha256: str | None = None

    @property
    def published(self) -> PublishedSplit | None:
        """The published split that the scheme stands for, or None if it is the user's own or the project's."""
        return PUBLISHED_SPLITS.get(self.scheme)

    @property
    def is_share(self) -> bool:
        """Whether val is a share of the training patients or slices, for which ``validation`` says how large it is."""
        return self.scheme == STRATIFIED and self.fold is None

    @property
    def has_testing(self) -> bool:
        """Whether patients of ``testing`` are in the dataset."""
        return self.published is None or self.published.testing != ""

    @property
    def name(self) -> str:
        """Name of scheme and fold in the manifest, such as ``nnunet:0``."""
        return self.scheme if self.fold is None else f"{self.scheme}:{self.fold}"

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the attributes that the split depends on."""
        if self.is_share:
            return ("scheme", "unit", "validation", "seed", "stratify")
        if self.scheme == STRATIFIED:
            return ("scheme", "fold", "seed")
        if self.scheme == FILE:
            return ("scheme", "file", "file_sha256")
        return ("scheme",) if self.fold is None else ("scheme", "fold")

    @property
    def settings(self) -> dict[str, Any]:
        """The attributes that the split depends on: keyword arguments for a rule that splits alike."""
        return {key: getattr(self, key) for key in self.keys}

    def describe(self) -> str:
        """Describe the split in words, with its source; what readers of its results have to know is in ``note``."""
        if self.is_share:
            return f"by {self.unit}, {100 * self.validation:g} % for validation, seed {self.seed}"
        if self.scheme == STRATIFIED:
            return f"fold {self.fold} of five stratified folds of patients for validation, seed {self.seed}"
        if self.published is None:
            return f"as listed in {self.file} (sha256 {self.file_sha256})"
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.scheme}{fold}, as published in {self.published.source}"


def folds_of_scheme(scheme: str) -> range:
    """Return the numbers of the folds of a scheme; none if it has no folds."""
    if scheme in PUBLISHED_SPLITS:
        return PUBLISHED_SPLITS[scheme].folds
    return range(FOLDS if scheme == STRATIFIED else 0)
