"""A trained model: which encoder it belongs to, and how the images were made that it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acdc_medsam import __version__
from acdc_medsam.encoders.registry import ENCODERS, PRECISIONS
from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.train.facts import read_facts

DEFAULTS: dict[str, Any] = {"precision": "float32", "image_size": 1024, "percentile": 99.0}
"""What is assumed of a model without ``training.json``: the defaults of the configuration."""


@dataclass(frozen=True)
class ModelFacts:
    """What must be known of a model to use it on other images.

    Attributes:
        path: File of the weights.
        sha256: Hex sha256 of the file.
        encoder: Name of the encoder.
        precision: Arithmetic of the encoder that made the embeddings, one of PRECISIONS.
        image_size: Height and width of the images that were encoded, in pixels.
        percentile: Percentile at which intensities were clipped.
        assumed: Names of the attributes that are not known but assumed.
        training: What the model was trained on, see :func:`acdc_medsam.train.facts.read_facts`.
    """

    path: Path
    sha256: str
    encoder: str
    precision: str
    image_size: int
    percentile: float
    assumed: tuple[str, ...]
    training: dict[str, Any] | None

    @property
    def settings(self) -> dict[str, Any]:
        """What the mask of a scan depends on besides the scan and the code."""
        return {
            "model": self.sha256,
            "encoder": self.encoder,
            "precision": self.precision,
            "image_size": self.image_size,
            "percentile": self.percentile,
        }

    def describe(self) -> dict[str, Any]:
        """Return how scans are segmented, for the page."""
        return {
            "software": f"acdc-medsam {__version__}",
            "model_path": str(self.path),
            **self.settings,
            "assumptions": self.describe_assumptions(),
        }

    def describe_assumptions(self) -> str:
        """Say what is assumed, in one sentence; an empty text if nothing is."""
        if not self.assumed:
            return ""
        values = ", ".join(f"{name} {self.settings[name]}" for name in self.assumed)
        return f"{self.path}: nothing beside it says how all of its images were made, so this is assumed: {values}"


def require_model(path: Path) -> None:
    """Check that there is a model.

    Raises:
        CheckpointError: There is no such file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such model; train one first, or name another")


def identify_model(path: Path, encoder: str | None = None) -> ModelFacts:
    """Find out how a model was trained: from ``training.json`` beside it, else from its weights and the defaults.

    Args:
        path: The trained weights.
        encoder: Name of the encoder that is assumed if nothing beside the model says which it is and several fit.

    Raises:
        CheckpointError: The file is missing or holds no weights, or which encoder it belongs to is unknown.
    """
    require_model(path)
    training = read_facts(path)
    # The file may come from anywhere, so that its values can be of any type.
    known = _usable_facts(training or {})
    facts = DEFAULTS | known
    return ModelFacts(
        path=path,
        sha256=sha256_file(path),
        encoder=known.get("encoder") or _tell_encoder(path, encoder),
        precision=facts["precision"],
        image_size=facts["image_size"],
        percentile=facts["percentile"],
        assumed=tuple(name for name in ("encoder", *DEFAULTS) if name not in known),
        training=training,
    )


def find_percentile(path: Path) -> float:
    """Return the percentile at which intensities are clipped for a model, see :class:`ModelFacts`."""
    percentile: float = (DEFAULTS | _usable_facts(read_facts(path) or {}))["percentile"]
    return percentile


def _usable_facts(training: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that have a possible value; the limits are those of the configuration."""
    values = {name: training.get(name) for name in ("encoder", *DEFAULTS)}
    size, percentile = values["image_size"], values["percentile"]
    usable = {
        "encoder": isinstance(values["encoder"], str) and values["encoder"] in ENCODERS,
        "precision": values["precision"] in PRECISIONS,
        "image_size": isinstance(size, int) and 64 <= size <= 4096,
        "percentile": isinstance(percentile, (int, float)) and 50 < percentile <= 100,
    }
    return {name: value for name, value in values.items() if usable[name]}


def _tell_encoder(path: Path, encoder: str | None) -> str:
    """Tell the encoder by the names and shapes of the weights; of several that fit, by the file or the assumed name."""
    # Only a model without training.json needs this, and torch with it.
    from acdc_medsam.encoders.checkpoint import find_fitting, read_weights

    fitting = find_fitting(read_weights(path, ENCODERS[encoder or "medsam_vit_b"]))
    # MedSAM and SAM have equal shapes, but normalize images in different ways.
    published = [name for name in fitting if ENCODERS[name].sha256 == sha256_file(path)]
    candidates = published or [name for name in fitting if name == encoder] or fitting
    if len(candidates) == 1:
        return candidates[0]
    raise CheckpointError(
        f"{path} fits {' and '.join(fitting) or 'no encoder of this version'}, and no training.json beside it says "
        f"which encoder it was trained with; copy that file too, or name the encoder with --encoder: "
        f"{', '.join(ENCODERS)}"
    )
