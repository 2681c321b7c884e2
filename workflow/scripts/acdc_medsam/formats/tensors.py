"""Files of ``torch.save``: one tensor, or the weights of a model. torch is imported when it is first needed."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.archive import may_be_zip_bomb
from acdc_medsam.formats.files import Written, write_bytes

if TYPE_CHECKING:
    import torch


class CompressedError(ValueError):
    """A file would unfold to more than it takes on the disk, which no file of ``torch.save`` does."""


def saved_bytes(content: object) -> memoryview:
    """What ``torch.save`` writes; saving by path would write the temporary file's name into it."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def tensor_bytes(tensor: "torch.Tensor") -> memoryview:
    """Content of a file with one tensor: contiguous, float32, on the CPU, and with a storage of its own.

    A view of a batch would take the whole batch's storage into the file.
    """
    import torch

    return saved_bytes(tensor.detach().to("cpu", torch.float32).contiguous().clone())


def save_tensor(tensor: "torch.Tensor", path: Path) -> Written:
    """Save one tensor, see :func:`tensor_bytes`, whole or not at all."""
    return write_bytes(path, tensor_bytes(tensor), read_only=True)


def load_saved(source: Path | io.BytesIO, mmap: bool = False) -> Any:
    """Load what ``torch.save`` wrote, onto the CPU. Nothing in it is run: only tensors and plain containers are taken.

    Args:
        source: The file or its content.
        mmap: Whether to map the file, so that only what is used is read.

    Raises:
        CompressedError: The file claims more than it holds; it was not read.
        Exception: The file is damaged or foreign, at which torch.load raises many kinds.
    """
    import torch

    if isinstance(source, Path) and may_be_zip_bomb(source):
        raise CompressedError(f"{source} is compressed")
    return torch.load(source, weights_only=True, map_location="cpu", mmap=mmap)


def open_embedding(path: Path, shape: tuple[int, ...]) -> "torch.Tensor":
    """Open the file of an embedding, or of the positional encoding: a tensor of ``shape``, read where it is used.

    Raises:
        DatasetError: The file is missing or holds no such tensor.
    """
    return read_embedding(path, path, shape)


def read_embedding(source: Path | io.BytesIO, path: Path, shape: tuple[int, ...]) -> "torch.Tensor":
    """Read a tensor of ``shape`` from a file, of which only what is used is read, or from its content.

    Args:
        source: The file or its content.
        path: What messages call it.
        shape: Shape that the tensor must have.

    Raises:
        DatasetError: It holds no such tensor.
    """
    import torch

    try:
        tensor = load_saved(source, mmap=isinstance(source, Path))
    except CompressedError as error:
        raise DatasetError(
            f"{path} claims more than a file of its size holds; `snakemake repair` makes it again"
        ) from error
    except Exception as error:  # of any kind, see load_saved
        raise DatasetError(
            f"{path} cannot be read ({type(error).__name__}); `snakemake repair` makes it again"
        ) from error
    if not isinstance(tensor, torch.Tensor) or tensor.shape != shape:
        raise DatasetError(f"{path} holds no embedding {list(shape)}; `snakemake repair` makes it again")
    return tensor
