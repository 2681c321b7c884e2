"""Stage positional_encoding: the encoder's weights -> the positional encoding that the mask decoder needs."""

from pathlib import Path

from acdc_medsam.encoders.checkpoint_file import checked_sha256
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.formats.tensors import save_tensor


def write_positional_encoding(
    name: str, checkpoint: Path, sha256: str | None, announced: str | None, path: Path, index: Path
) -> None:
    """Write the positional encoding of a model, ``prompt_encoder.get_dense_pe()``: (1, 256, 64, 64) float32.

    Args:
        name: Name of the encoder.
        checkpoint: File with the encoder's weights.
        sha256: Configured hex sha256 of the weights; None accepts any.
        announced: Hex sha256 of the weights when the run was planned; None accepts any.
        path: Declared output.
        index: Declared output, the index of ``path``.

    Raises:
        CheckpointError: The checkpoint is missing, is not the configured one, or does not fit.
        DatasetError: The checkpoint has changed since the run was planned.
    """
    from acdc_medsam.encoders import load_model, positional_encoding

    checked_sha256(checkpoint, ENCODERS[name], sha256, announced)
    encoding = save_tensor(positional_encoding(load_model(name, checkpoint)), path)
    write_index(index, [index_row(encoding, index)])
