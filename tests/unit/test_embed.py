from dataclasses import replace
from pathlib import Path

import pytest
import torch

from acdc_medsam.embed import (
    EncoderOptions,
    embed_batch,
    embedding_digest,
    prune_store,
    read_gray,
    save_tensor,
    store_path,
)
from acdc_medsam.errors import CheckpointError, DatasetError
from acdc_medsam.files import index_files, index_is_true, read_table
from acdc_medsam.normalize import normalize_patient
from acdc_medsam.render import render_patient


def test_a_view_is_saved_without_its_batch(tmp_path: Path) -> None:
    batch = torch.randn(8, 256, 64, 64)
    save_tensor(batch[3], tmp_path / "one.pt")
    assert (tmp_path / "one.pt").stat().st_size < 4.1 * 2**20
    loaded = torch.load(tmp_path / "one.pt", weights_only=True)
    assert torch.equal(loaded, batch[3]) and loaded.is_contiguous() and loaded.dtype == torch.float32


def test_the_bytes_do_not_depend_on_the_name(tmp_path: Path) -> None:
    tensor = torch.randn(4)
    assert save_tensor(tensor, tmp_path / "a.pt") == save_tensor(tensor, tmp_path / "b.pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_the_digest_tells_encoders_and_pictures_apart() -> None:
    assert len({embedding_digest(encoder, pixels) for encoder in "ab" for pixels in "cd"}) == 4


def test_a_damaged_png_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(DatasetError, match=r"bad\.png: not a readable PNG"):
        read_gray(tmp_path / "bad.png")


class Work:
    """PNG folders of some patients and a store of embeddings."""

    def __init__(self, folder: Path, raw: Path, checkpoint: Path) -> None:
        self.folder, self.store = folder, folder / "embeddings/store"
        self.options = EncoderOptions("lite_medsam", checkpoint, None, "float32", "auto", "cpu", threads=2)
        self.tables = []
        for name in ("patient001", "patient002"):
            h5, png = folder / "h5" / name / "index.tsv", folder / "png" / name
            normalize_patient(raw / "training" / name, h5, 99, on_invalid="stop")
            render_patient(h5, png / "index.tsv", png / "slices.tsv", 1024, keep_empty=False)
            self.tables.append(png / "slices.tsv")

    def embed(self, name: str, tables: list[Path]) -> Path:
        table = self.folder / "embeddings/lite_medsam" / name
        embed_batch(tables, table, self.store, self.options)
        return table

    def stored(self) -> dict[str, tuple[int, int]]:
        files = self.store.glob("*/*.pt")
        return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


@pytest.fixture(scope="module")
def work(raw: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    return Work(tmp_path_factory.mktemp("work"), raw, checkpoint)


def test_only_what_the_store_lacks_is_encoded(work: Work) -> None:
    first = work.embed("p001-001.tsv", work.tables[:1])
    before = work.stored()
    both = work.embed("p001-016.tsv", work.tables)
    after = work.stored()
    assert set(before) < set(after) and all(after[name] == before[name] for name in before)
    assert index_is_true(first) and index_is_true(both)
    assert [row["sha256"] for row in read_table(first)] == [row["sha256"] for row in read_table(both)][: len(before)]
    lost = index_files(both)[0].resolve()
    content = lost.read_bytes()
    lost.unlink()
    assert not index_is_true(both)
    work.embed("p001-016.tsv", work.tables)
    assert lost.read_bytes() == content
    assert not lost.stat().st_mode & 0o222


def test_another_checkpoint_than_configured_is_refused_even_if_nothing_is_left_to_encode(work: Work) -> None:
    table = work.embed("p001-016.tsv", work.tables)
    other = replace(work.options, sha256="0" * 64)
    with pytest.raises(CheckpointError, match=r"is not the file that is configured"):
        embed_batch(work.tables, table, work.store, other)


def test_prune_removes_what_no_table_names(work: Work) -> None:
    first = work.embed("p001-001.tsv", work.tables[:1])
    stale = work.embed("p002-002.tsv", work.tables[1:])
    of_both, named = set(work.stored()), {file.name for file in index_files(first)}
    assert named < of_both
    assert prune_store([first]) == len(of_both - named)
    assert set(work.stored()) == named
    assert not stale.exists()


def test_store_folders_stay_small() -> None:
    assert store_path(Path("store"), "abcdef") == Path("store/ab/abcdef.pt")
