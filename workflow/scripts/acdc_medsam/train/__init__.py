"""Fine-tune a model's mask decoder on the stored embeddings: ``acdc-medsam train data/ACDC``."""

import importlib.util
import logging
import warnings

from acdc_medsam.errors import ConfigError


def require_libraries() -> None:
    """Check that the optional dependencies of training and evaluation are installed.

    Raises:
        ConfigError: A dependency is missing; the message says how to install it.
    """
    # Importing them would take seconds.
    missing = [name for name in ("monai", "pytorch_lightning") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"training needs {' and '.join(missing)}: pip install monai pytorch-lightning")


def silence_libraries() -> None:
    """Suppress Lightning's messages about itself, loaders and clusters, and MONAI's deprecation warnings."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|monai")
