"""Stage download_checkpoint: an address -> a file of weights, checked, whole or not at all."""

import logging
from pathlib import Path

import pooch
import requests

from acdc_medsam.errors import CheckpointError

logger = logging.getLogger(__name__)


def download_checkpoint(url: str, sha256: str | None, path: Path) -> None:
    """Download ``url`` to ``path`` under a temporary name first.

    Raises:
        CheckpointError: the address cannot be reached, or what came is not what ``sha256`` says.
    """
    known = f"sha256:{sha256}" if sha256 else None
    try:
        pooch.retrieve(url, known_hash=known, fname=path.name, path=path.parent)
    except (requests.RequestException, OSError, ValueError) as error:
        raise CheckpointError(
            f"{url} could not be downloaded ({error}); check encoder.url and encoder.sha256, "
            f"or download it by hand to {path}"
        ) from error
    logger.info("downloaded %s to %s", url, path)
