"""PyTorch access to the published dataset: ``SliceDataset``, ``DataModule`` and ``positional_encoding``.

Only the dataset's folder is needed. The names are imported on first use, because ``DataModule`` needs Lightning and the
others need PyTorch. The workflow's rules, which import other modules of this package, wait for neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acdc_medsam.data.module import DataModule
    from acdc_medsam.data.prompts import jitter_box, sample_points, tight_box
    from acdc_medsam.data.slices import ItemOptions, SliceDataset, positional_encoding

__all__ = [
    "DataModule",
    "ItemOptions",
    "SliceDataset",
    "jitter_box",
    "positional_encoding",
    "sample_points",
    "tight_box",
]

_MODULES = {"DataModule": "module", "jitter_box": "prompts", "sample_points": "prompts", "tight_box": "prompts"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'slices')}"), name)
