from pathlib import Path

import torch

from acdc_medsam.formats.tensors import save_tensor


def test_a_view_is_saved_without_the_rest_of_its_batch(tmp_path: Path) -> None:
    batch = torch.randn(8, 256, 64, 64)
    save_tensor(batch[3], tmp_path / "one.pt")
    assert (tmp_path / "one.pt").stat().st_size < 4.1 * 2**20
    loaded = torch.load(tmp_path / "one.pt", weights_only=True)
    assert torch.equal(loaded, batch[3]) and loaded.is_contiguous() and loaded.dtype == torch.float32


def test_the_content_does_not_depend_on_the_file_name(tmp_path: Path) -> None:
    tensor = torch.randn(4)
    records = [save_tensor(tensor, tmp_path / name) for name in ("a.pt", "b.pt")]
    assert records[0].sha256 == records[1].sha256
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
