"""Read the values of a tensor in a file of ``torch.save``, without the 2 s that it takes to import torch."""

import io
import math
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float32]


def read_values(data: bytes, path: Path, shape: tuple[int, int, int]) -> Values:
    """Read a tensor from the content of its file.

    A file like those that :func:`acdc_medsam.formats.tensors.save_tensor` writes is read by NumPy. Any other file is
    left to torch.

    Args:
        data: Content of the file.
        path: The file as messages name it.
        shape: Shape that the tensor must have.

    Returns:
        The values; not writable.

    Raises:
        DatasetError: There is no tensor of this shape.
    """
    values = read_plain(data, shape)
    if values is None:
        from acdc_medsam.formats.tensors import read_embedding

        return read_embedding(io.BytesIO(data), path, shape).numpy()
    return values


def open_values(path: Path, shape: tuple[int, int, int]) -> Values:
    """Read a tensor from its file, see :func:`read_values`."""
    try:
        data = path.read_bytes()
    except OSError:
        # Torch says in the same words what cannot be read, whatever the reason.
        from acdc_medsam.formats.tensors import open_embedding

        return open_embedding(path, shape).numpy()
    return read_values(data, path, shape)


def read_plain(data: bytes, shape: tuple[int, ...]) -> Values | None:
    """Read a contiguous float32 tensor of a certain shape, if the file is exactly as ``torch.save`` lays it out.

    Args:
        data: Content of the file.
        shape: Shape that the tensor must have.

    Returns:
        The values, not writable; or None if anything in the file is unusual, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            folder = archive.namelist()[0].partition("/")[0]
            entries = [archive.getinfo(f"{folder}/{name}") for name in ("data.pkl", "byteorder", "data/0")]
            description = describe_tensor(shape)
            sizes = [len(description), len(b"little"), 4 * math.prod(shape)]
            # Nothing is read of a file that claims other sizes, or to be compressed.
            if [entry.file_size for entry in entries] != sizes or any(entry.compress_type for entry in entries):
                return None
            # The module compares the checksum of each entry.
            found = [archive.read(entry) for entry in entries]
    except (zipfile.BadZipFile, LookupError, ValueError, RuntimeError, EOFError, OSError, struct.error):
        return None

    if found[:2] != [description, b"little"]:
        return None
    return np.frombuffer(found[2], "<f4").reshape(shape)


def describe_tensor(shape: tuple[int, ...]) -> bytes:
    """Return how ``torch.save`` describes a contiguous float32 tensor on the CPU.

    The description is a pickle, which could run code. It is therefore compared with this one and never loaded.
    """
    strides = [math.prod(shape[axis:]) for axis in range(1, len(shape) + 1)]
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\x00\x00\x00storageq\x01ctorch\nFloatStorage\nq\x02"
        b"X\x01\x00\x00\x000q\x03X\x03\x00\x00\x00cpuq\x04%btq\x05QK\x00%bq\x06%bq\x07\x89ccollections\n"
        b"OrderedDict\nq\x08)Rq\ttq\nRq\x0b."
    ) % (_describe_number(math.prod(shape)), _describe_tuple(shape), _describe_tuple(strides))


def _describe_tuple(numbers: Sequence[int]) -> bytes:
    """Return a tuple of three or more numbers as a pickle holds it: a tuple of three has an opcode of its own."""
    described = b"".join(map(_describe_number, numbers))
    return described + b"\x87" if len(numbers) == 3 else b"(" + described + b"t"


def _describe_number(number: int) -> bytes:
    """Return a number of at most four bytes as a pickle holds it: as short as possible, after a letter for its size."""
    if number < 2**8:
        return struct.pack("<cB", b"K", number)
    return struct.pack("<cH", b"M", number) if number < 2**16 else struct.pack("<ci", b"J", number)
