"""Write and read files of ``torch.save``: one tensor, or the weights of a model. Imports torch when first needed."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.archive import may_be_zip_bomb
from acdc_medsam.formats.files import Written, write_bytes

if TYPE_CHECKING:
    import torch


class CompressedError(ValueError):
    """A file would expand to more bytes than it has on disk, which no file of ``torch.save`` does."""


def saved_bytes(content: object) -> memoryview:
    """Return what ``torch.save`` writes."""
    import torch

    # In memory, because torch.save writes the name of a file, here a temporary one, into its content.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def tensor_bytes(tensor: "torch.Tensor") -> memoryview:
    """Return the content of a file with one tensor, as contiguous float32 on the CPU."""
    import torch

    # Cloned, because a view of a batch would bring the storage of the whole batch into the file.
    return saved_bytes(tensor.detach().to("cpu", torch.float32).contiguous().clone())


def save_tensor(tensor: "torch.Tensor", path: Path) -> Written:
    """Save one tensor atomically, see :func:`tensor_bytes`."""
    return write_bytes(path, tensor_bytes(tensor), read_only=True)


def load_saved(source: Path | io.BytesIO, mmap: bool = False) -> Any:
    """Load what ``torch.save`` wrote onto the CPU. Only tensors and plain containers are accepted, so no code is run.

    Args:
        source: The file or its content.
        mmap: Whether to map the file into memory, so that only the parts in use are read.

    Returns:
        The tensor or container that was saved.

    Raises:
        CompressedError: The file would expand to more than its size; it was not loaded.
        Exception: The file is damaged or of another kind. torch.load raises exceptions of many types for that.
    """
    import torch

    if isinstance(source, Path) and may_be_zip_bomb(source):
        raise CompressedError(f"{source} is compressed")
    return torch.load(source, weights_only=True, map_location="cpu", mmap=mmap)


def open_embedding(path: Path, shape: tuple[int, ...]) -> "torch.Tensor":
    """Open the file of an embedding, or of the positional encoding, without reading more of it than is used.

    Raises:
        DatasetError: The file is missing or holds no tensor of this shape.
    """
    return read_embedding(path, path, shape)


def read_embedding(source: Path | io.BytesIO, path: Path, shape: tuple[int, ...]) -> "torch.Tensor":
    """Read a tensor from a file, or from the content of one that was read before.

    Args:
        source: The file, which is mapped into memory, or its content.
        path: The file as messages name it.
        shape: Shape that the tensor must have.

    Raises:
        DatasetError: There is no tensor of this shape.
    """
    import torch

    try:
        tensor = load_saved(source, mmap=isinstance(source, Path))
    except CompressedError as error:
        raise DatasetError(
            f"{path} claims more than a file of its size holds; `snakemake repair` makes it again"
        ) from error
    except Exception as error:  # of any type, see load_saved
        raise DatasetError(
            f"{path} cannot be read ({type(error).__name__}); `snakemake repair` makes it again"
        ) from error

    if not isinstance(tensor, torch.Tensor) or tensor.shape != shape:
        raise DatasetError(f"{path} holds no embedding {list(shape)}; `snakemake repair` makes it again")
    return tensor
