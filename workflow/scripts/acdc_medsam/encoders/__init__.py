"""Image encoders: from 8-bit gray images to image embeddings.

``registry`` needs no torch. The names below come from ``checkpoint`` and ``model``, which are imported, and torch with
them, when one of the names is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acdc_medsam.encoders.checkpoint import load_model
    from acdc_medsam.encoders.model import Encoder, make_encoder, positional_encoding, prepare_images

__all__ = ["Encoder", "load_model", "make_encoder", "positional_encoding", "prepare_images"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from acdc_medsam.encoders import checkpoint, model

    return getattr(checkpoint if name == "load_model" else model, name)
