"""Look at a dataset and try its decoder, on a page that this machine serves to itself: ``acdc-medsam view``."""

import importlib.util

from acdc_medsam.errors import ConfigError


def require_library() -> None:
    """Check that the optional dependency of the viewer is installed.

    Raises:
        ConfigError: It is missing; the message says how to install it.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigError(
            "the viewer needs the package aiohttp: pip install --constraint constraints.txt --editable '.[view]'"
        )
