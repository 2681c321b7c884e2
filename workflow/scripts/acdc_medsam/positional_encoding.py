"""Stage positional_encoding: the encoder's weights -> the one positional encoding that the mask decoder needs."""

from pathlib import Path

from acdc_medsam.store import save_tensor


def write_positional_encoding(name: str, checkpoint: Path, sha256: str | None, path: Path) -> None:
    """Write ``prompt_encoder.get_dense_pe()`` of a model: float32 [1, 256, 64, 64].

    Raises:
        CheckpointError: the checkpoint is missing, is not the configured one, or does not fit.
    """
    from acdc_medsam.encoders import load_model, positional_encoding

    save_tensor(positional_encoding(load_model(name, checkpoint, sha256)), path)
