import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from acdc_medsam.encoders.store import prune_store
from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.files import Written, read_sealed, write_bytes
from acdc_medsam.formats.png import Gray
from acdc_medsam.stages.embed import EncoderOptions, embed_batch
from acdc_medsam.stages.normalize import normalize_patient
from acdc_medsam.stages.render import render_patient
from fewer_slices import keep_structures
from indexes import files_of, is_whole


class Work:
    """PNG folders of two patients, and a store of embeddings."""

    def __init__(self, folder: Path, raw: Path, checkpoint: Path) -> None:
        self.folder = folder
        self.store = folder / "embeddings/store"
        self.options = EncoderOptions(
            name="lite_medsam",
            checkpoint=checkpoint,
            sha256=None,
            announced=None,
            precision="float32",
            batch_size="auto",
            device="cpu",
            threads=2,
            code="0" * 64,
        )
        self.tables = []
        shutil.copytree(raw, folder / "raw")
        keep_structures(folder / "raw/training", "patient001", "patient002")
        for name in ("patient001", "patient002"):
            normalize_patient(folder / "raw/training" / name, folder / "h5" / name / "index.tsv", 99, on_invalid="stop")
            self.tables.append(self.render(name))

    def render(self, name: str) -> Path:
        png = self.folder / "png" / name
        h5 = self.folder / "h5" / name / "index.tsv"
        render_patient(h5, png / "index.tsv", png / "slices.tsv", 1024, keep_empty=False)
        return png / "slices.tsv"

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


def test_only_images_that_the_store_lacks_are_encoded(work: Work) -> None:
    first = work.embed("p001-001.tsv", work.tables[:1])
    before = work.stored()
    both = work.embed("p001-016.tsv", work.tables)
    after = work.stored()
    assert set(before) < set(after) and all(after[name] == before[name] for name in before)
    assert is_whole(first) and is_whole(both)
    assert [row["sha256"] for row in read_sealed(first)] == [row["sha256"] for row in read_sealed(both)][: len(before)]
    lost = files_of(both)[0].resolve()
    content = lost.read_bytes()
    lost.unlink()
    assert not is_whole(both)
    work.embed("p001-016.tsv", work.tables)
    assert lost.read_bytes() == content
    assert not lost.stat().st_mode & 0o222


def write_png_as_before(path: Path, pixels: Gray, row_filter: object = None) -> Written:
    """Write a PNG as the first version of the workflow did, by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=1, compress_type=3)
    return write_bytes(path, buffer.getvalue(), read_only=True)


def test_the_same_pixels_in_other_files_keep_their_embeddings(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("acdc_medsam.stages.render.write_png", write_png_as_before)
        old = read_sealed(work.render("patient001"))
    embedded = read_sealed(work.embed("p001-001.tsv", work.tables[:1]))
    before = work.stored()

    new = read_sealed(work.render("patient001"))
    assert read_sealed(work.embed("p001-001.tsv", work.tables[:1])) == embedded
    assert work.stored() == before
    assert [row["pixels_sha256"] for row in new] == [row["pixels_sha256"] for row in old]
    for column in ("image_sha256", "mask_sha256"):
        assert all(one[column] != other[column] for one, other in zip(new, old, strict=True))


def test_another_checkpoint_is_refused_with_nothing_to_encode(work: Work) -> None:
    table = work.embed("p001-016.tsv", work.tables)
    other = replace(work.options, sha256="0" * 64)
    with pytest.raises(CheckpointError, match=r"is not the file that is configured"):
        embed_batch(work.tables, table, work.store, other)


def test_prune_removes_embeddings_that_no_table_names(work: Work) -> None:
    first = work.embed("p001-001.tsv", work.tables[:1])
    stale = work.embed("p002-002.tsv", work.tables[1:])
    stored = set(work.stored())
    named = {file.name for file in files_of(first)}
    assert named < stored
    assert prune_store([first]) == len(stored - named)
    assert set(work.stored()) == named
    assert not stale.exists()
