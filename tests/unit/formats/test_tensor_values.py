import io
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats import tensor_values
from acdc_medsam.formats.tensor_values import open_values, read_plain, read_values
from acdc_medsam.formats.tensors import tensor_bytes

PATH = Path("embedding.pt")
SHAPE = (256, 64, 64)


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail wherever a file is left to torch."""
    monkeypatch.setitem(sys.modules, "acdc_medsam.formats.tensors", None)


def saved(tensor: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [SHAPE, (1, 2, 3), (255, 256, 1), (3, 1, 70_000)])
@pytest.mark.usefixtures("without_torch")
def test_our_own_files_are_read_without_torch(shape: tuple[int, int, int]) -> None:
    tensor = torch.randn(shape)
    values = read_values(bytes(tensor_bytes(tensor)), PATH, shape)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, tensor.numpy())


@pytest.mark.parametrize("shape", [(1, *SHAPE), (2, 300, 1, 5, 7)])
def test_tensors_of_more_axes_are_read_too(shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape)
    np.testing.assert_array_equal(read_plain(bytes(tensor_bytes(tensor)), shape), tensor.numpy())  # type: ignore[arg-type]


def test_a_tensor_that_is_laid_out_otherwise_is_left_to_torch() -> None:
    tensor = torch.randn(64, 64, 256).permute(2, 0, 1)
    assert not tensor.is_contiguous()
    np.testing.assert_array_equal(read_values(saved(tensor), PATH, SHAPE), tensor.numpy())


def changed(**entries: bytes | None) -> bytes:
    """A file of torch.save with some entries replaced or, for None, left out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(torch.zeros(SHAPE)))) as before, zipfile.ZipFile(buffer, "w") as after:
        for entry in before.namelist():
            content = entries.get(Path(entry).stem, before.read(entry))
            if content is not None:
                after.writestr(entry, content)
    return buffer.getvalue()


# Made by functions, because torch writes the time into its files, and the names of tests must not depend on it.
@pytest.mark.parametrize(
    "damaged",
    [
        bytes,
        partial(bytes, 7),
        partial(saved, torch.zeros(3)),
        lambda: saved(torch.zeros(SHAPE))[:-100],
        partial(changed, data=b"cposix\nsystem\n(S'exit 1'\ntR."),
        partial(changed, **{"0": bytes(8)}),
    ],
    ids=["empty", "zeros", "another shape", "cut short", "a pickle that runs code", "fewer values"],
)
def test_a_damaged_file_is_left_to_torch_which_names_it(damaged: Callable[[], bytes]) -> None:
    with pytest.raises(DatasetError, match=r"embedding\.pt"):
        read_values(damaged(), PATH, SHAPE)


def test_a_file_that_claims_more_than_it_holds_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, content in (
            ("data.pkl", tensor_values.describe_tensor(SHAPE)),
            ("byteorder", b"little"),
            ("data/0", bytes(4 * 2**20)),
        ):
            bomb.writestr(f"archive/{name}", content)
    monkeypatch.setattr(zipfile.ZipFile, "read", pytest.fail)
    assert tensor_values.read_plain(buffer.getvalue(), SHAPE) is None


def test_a_changed_bit_is_noticed() -> None:
    data = bytearray(saved(torch.zeros(SHAPE)))
    data[len(data) // 2] ^= 1
    assert tensor_values.read_plain(bytes(data), SHAPE) is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"embedding\.pt cannot be read \(FileNotFoundError\)"):
        open_values(tmp_path / "embedding.pt", SHAPE)
