"""PyTorch access to the published dataset: ``SliceDataset``, ``DataModule`` and ``positional_encoding``.

Only the dataset's folder is needed. ``DataModule`` is imported on first use, because it needs Lightning.
"""

from typing import TYPE_CHECKING, Any

from acdc_medsam.data.prompts import jitter_box, sample_points, tight_box
from acdc_medsam.data.slices import ItemOptions, SliceDataset, positional_encoding

if TYPE_CHECKING:
    from acdc_medsam.data.module import DataModule

__all__ = [
    "DataModule",
    "ItemOptions",
    "SliceDataset",
    "jitter_box",
    "positional_encoding",
    "sample_points",
    "tight_box",
]


def __getattr__(name: str) -> Any:
    if name != "DataModule":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from acdc_medsam.data.module import DataModule

    return DataModule
