"""Export a model as ONNX files, for onnxruntime and annotation tools: ``acdc-medsam export-onnx``."""

import importlib.util
import logging

from acdc_medsam.errors import ConfigError

OPSETS = (18, 21)
"""Lowest and highest version of ONNX's operators that can be asked for. Older onnxruntimes take the lowest one."""


def require_libraries() -> None:
    """Check that the optional dependencies of this export are installed.

    Raises:
        ConfigError: A dependency is missing; the message says how to install it.
    """
    # Importing them would take seconds.
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the export to ONNX needs {' and '.join(missing)}: pip install onnx onnxruntime onnxscript")


def silence_libraries() -> None:
    """Suppress what the exporter says about each step of its optimization, and about torchvision, which is not used."""
    for name in ("onnx_ir", "onnxscript", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
