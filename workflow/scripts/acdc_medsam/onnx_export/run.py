"""Export a model: write its parts, compare them with PyTorch, and only then give them their names."""

import logging
import tempfile
from pathlib import Path

from acdc_medsam.acdc.citation import LICENSE, REFERENCE, SOFTWARE
from acdc_medsam.encoders.checkpoint import load_model
from acdc_medsam.encoders.registry import ENCODERS, EncoderSpec
from acdc_medsam.errors import AcdcError
from acdc_medsam.formats.files import atomic_path, sha256_file
from acdc_medsam.onnx_export import OPSETS, require_libraries, silence_libraries
from acdc_medsam.onnx_export.parts import NAMES, Part, make_parts
from acdc_medsam.onnx_export.write import measure_differences, write_part
from acdc_medsam.train.model import identify_model

logger = logging.getLogger(__name__)

MAX_DIFFERENCE = 1e-3
"""Largest difference from PyTorch: of embeddings, which reach about 1, and of logits, which reach about 20."""


def export_model(
    checkpoint: Path, out: Path, encoder: str | None = None, fine_tuned: bool = False, opset: int = OPSETS[0]
) -> list[Path]:
    """Write ``encoder.onnx``, ``decoder.onnx``, and for a fine-tuned model ``segmentation.onnx``.

    Args:
        checkpoint: A fine-tuned model, or released weights.
        out: The output folder. The files of an earlier export are replaced together.
        encoder: Name of the encoder that is assumed if nothing else says which it is, see :func:`identify_model`.
        fine_tuned: Whether the model is fine-tuned although no ``training.json`` beside it says so.
        opset: Version of ONNX's operators.

    Returns:
        The files.

    Raises:
        ConfigError: A library is missing.
        CheckpointError: The file cannot be used, or which encoder it belongs to is unknown.
        AcdcError: A result differs from PyTorch's.
    """
    require_libraries()
    silence_libraries()
    found = identify_model(checkpoint, encoder)
    spec = ENCODERS[found.encoder]
    model = load_model(spec.name, checkpoint)
    fine_tuned = fine_tuned or found.training is not None
    facts = describe_model(checkpoint, spec, fine_tuned)

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=out) as folder:
        for part in make_parts(model, spec, fine_tuned):
            path = Path(folder) / part.name
            write_part(part, path, opset, facts)
            require_equal(part, path)
        return replace_files(Path(folder), out)


def describe_model(checkpoint: Path, spec: EncoderSpec, fine_tuned: bool) -> dict[str, str]:
    """Return the facts about a model that each of its files carries."""
    facts = {
        "software": SOFTWARE,
        "encoder": spec.name,
        "model": checkpoint.name,
        "model_sha256": sha256_file(checkpoint),
        "released_weights": spec.published_at,
        "license": f"that of the released weights: {spec.published_at}",
    }
    if fine_tuned:
        facts |= {"license": LICENSE, "citation": REFERENCE, "fine_tuned_on": "ACDC"}
    return facts


def require_equal(part: Part, path: Path) -> None:
    """Check that onnxruntime and PyTorch agree on a part, and say how well.

    Raises:
        AcdcError: They differ by more than MAX_DIFFERENCE.
    """
    differences = measure_differences(part, path)
    listed = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    if max(differences.values()) > MAX_DIFFERENCE:
        raise AcdcError(
            f"{part.name} was not written: onnxruntime differs from PyTorch by more than "
            f"{MAX_DIFFERENCE:g} ({listed}); "
            "choose another --opset, or other versions of onnx, onnxscript and onnxruntime"
        )
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    logger.info("%s: %.1f MB; differences from PyTorch: %s", part.name, size / 1e6, listed)


def replace_files(folder: Path, out: Path) -> list[Path]:
    """Move the files of an export to ``out``, and return them.

    Those of an earlier export are removed first, so that an encoder never stands beside the decoder of another model.
    """
    for name in NAMES:
        for old in (out / name, out / f"{name}.data"):
            old.unlink(missing_ok=True)

    files = []
    # Weights beside a graph come first, because the graph without them is no model.
    for file in sorted(folder.iterdir(), key=lambda file: (file.suffix == ".onnx", file.name)):
        with atomic_path(out / file.name) as temporary:
            file.replace(temporary)
        files.append(out / file.name)
    return files
