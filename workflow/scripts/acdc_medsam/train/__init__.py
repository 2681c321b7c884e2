"""Fine-tune a model's mask decoder on the stored embeddings: ``acdc-medsam train data/ACDC``."""

import logging
import warnings

from acdc_medsam.runtime.requirements import require_libraries as require


def require_libraries() -> None:
    """Refuse training and evaluation where their optional libraries are not installed.

    Raises:
        ConfigError: A library is missing; the message says how to install it.
    """
    require("training", "monai", "pytorch_lightning")


def silence_libraries() -> None:
    """Suppress Lightning's messages about itself, loaders and clusters, and MONAI's deprecation warnings."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|monai")
