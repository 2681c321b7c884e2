"""Export a model as ONNX files, for onnxruntime and annotation tools: ``acdc-medsam export-onnx``."""

import logging

from acdc_medsam.runtime.requirements import require_libraries as require

OPSETS = (18, 21)
"""Lowest and highest version of ONNX's operators that can be asked for. Older onnxruntimes take the lowest one."""


def require_libraries() -> None:
    """Refuse the export where its optional libraries are not installed.

    Raises:
        ConfigError: A library is missing; the message says how to install it.
    """
    require("the export to ONNX", "onnx", "onnxruntime", "onnxscript")


def silence_libraries() -> None:
    """Suppress what the exporter says about each step of its optimization, and about torchvision, which is not used."""
    for name in ("onnx_ir", "onnxscript", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
