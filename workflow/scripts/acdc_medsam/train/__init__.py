"""Fine-tune a model's mask decoder on the stored embeddings: ``python -m acdc_medsam.train --data_dir data/ACDC``."""

import importlib.util
import logging
import warnings

from acdc_medsam.errors import ConfigError


def require_libraries() -> None:
    """Raise ConfigError, saying how to install them, if what training and evaluation need besides is not there."""
    missing = [name for name in ("monai", "pytorch_lightning") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"training needs {' and '.join(missing)}: pip install --constraint constraints.txt --editable '.[train]'"
        )


def quiet_libraries() -> None:
    """Leave out what Lightning says about itself, loaders and clusters, and MONAI about its own old functions."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|monai")
