import itertools
import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import read_sealed, read_table
from acdc_medsam.layout import MANIFEST_COLUMNS
from acdc_medsam.stages.publish import link_file
from indexes import is_whole
from small_dataset import SmallDataset

TABLES = ("manifest.tsv", "train/metadata.csv", "val/metadata.csv", "test/metadata.csv")


def listing(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_the_layout(small: SmallDataset) -> None:
    rows = read_table(small.data / "manifest.tsv")
    assert tuple(rows[0]) == MANIFEST_COLUMNS
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    for row in rows:
        folder = small.data / row["split"]
        assert (folder / "images" / f"{row['slice']}.png").is_file()
        assert (folder / "masks" / f"{row['slice']}.png").is_file()
        assert row["embedding"] == f"{row['split']}/image_embeddings/{row['slice']}.pt"
        assert (small.data / row["embedding"]).is_file()
    assert (small.data / "positional_encoding/pe.pt").is_file()
    counts = [len(list((small.output / f"ACDC_{name}").iterdir())) for name in ("training_volumes", "testing_volumes")]
    assert counts == [6, 2]
    assert len(list((small.output / "ACDC_training_slices").iterdir())) == 3 * 2 * 3
    assert is_whole(small.index)


def test_nothing_is_stored_twice(small: SmallDataset) -> None:
    work = set(listing(small.work / "png").values()) | set(listing(small.work / "embeddings").values())
    published = listing(small.data)
    for table in TABLES:
        published.pop(table)
    assert set(published.values()) <= work


def test_publishing_again_touches_nothing(small: SmallDataset) -> None:
    before = listing(small.data)
    small.publish()
    after = listing(small.data)
    written_anew = dict.fromkeys(TABLES, 0)
    assert before | written_anew == after | written_anew


def test_another_split_moves_files_and_leaves_none_behind(small: SmallDataset) -> None:
    layouts = set()
    for seed in range(8):
        small.publish(seed=seed)
        layouts.add(frozenset(listing(small.data)))
    assert len(layouts) > 1
    assert len({len(files) for files in layouts}) == 1
    assert {path.parent.name for path in small.data.rglob("metadata.csv")} == {"train", "val", "test"}
    assert not [row for row in read_sealed(small.index) if not (small.work / row["file"]).is_file()]


@pytest.mark.parametrize("link", ["auto", "copy"])
def test_a_reader_during_publishing_sees_intact_files_or_none(small: SmallDataset, link: str) -> None:
    """A file has the content that its name stands for, in any split, or is missing for a moment."""
    content = {path.name: path.read_bytes() for path in small.data.rglob("*slice*.pt")}
    names = [(row["slice"], split) for row in read_table(small.data / "manifest.tsv") for split in ("train", "val")]
    manifests = set[bytes]()
    read = Counter[str]()
    torn = list[str]()
    over = threading.Event()

    def read_repeatedly() -> None:
        while not over.is_set():
            manifests.add((small.data / "manifest.tsv").read_bytes())
            for name, split in names:
                path = small.data / split / "image_embeddings" / f"{name}.pt"
                try:
                    found = path.read_bytes()
                except FileNotFoundError:
                    read["missing"] += 1
                    continue
                read["intact"] += 1
                torn.extend([path.name] * (found != content[path.name]))

    reader = threading.Thread(target=read_repeatedly)
    reader.start()
    published = set[bytes]()
    # Six splits, and more until enough files were read, whichever thread is faster.
    for time in itertools.count():
        small.publish(seed=time % 6, link=link)
        published.add((small.data / "manifest.tsv").read_bytes())
        if time >= 6 and read["intact"] > 100:
            break
    over.set()
    reader.join()
    assert read["intact"] > 100 and torn == []
    assert len(manifests - published) <= 1, "only the manifest from before may be seen too"


def test_a_dataset_without_embeddings_has_no_folders_for_them(small: SmallDataset) -> None:
    small.publish(embeddings=False)
    assert not list(small.data.rglob("*.pt"))
    assert not list(small.data.rglob("image_embeddings"))
    assert not (small.data / "positional_encoding").exists()
    assert {row["embedding"] for row in read_table(small.data / "manifest.tsv")} == {""}


def test_foreign_files_are_left_alone(small: SmallDataset) -> None:
    foreign = small.data / "train" / "images" / "notes.txt"
    foreign.touch()
    old = small.data / "train" / "images" / "patient099_frame01_slice_0.png"
    old.touch()
    small.publish()
    assert foreign.exists()
    assert not old.exists()


def test_a_lost_embedding_is_named_with_its_remedy(small: SmallDataset) -> None:
    lost = next(small.work.glob("embeddings/store/*/*.pt"))
    lost.unlink()
    with pytest.raises(DatasetError, match=rf"{lost.name} has gone since it was made; `snakemake repair` reads"):
        small.publish()


@pytest.mark.parametrize("mode", ["auto", "hard", "copy", "symlink"])
def test_each_mode_of_linking_replaces_every_other(tmp_path: Path, mode: str) -> None:
    source = tmp_path / "source"
    target = tmp_path / "out" / "target"
    source.write_text("content")
    for before in ("auto", "hard", "copy", "symlink"):
        for each in (before, mode, mode):
            link_file(source, target, each)
            assert target.read_text() == "content"
        assert target.is_symlink() == (mode == "symlink")
        assert (target.samefile(source)) == (mode != "copy") or mode == "auto"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize(("mode", "flushed"), [("hard", 0), ("symlink", 0), ("copy", 1)])
def test_only_what_is_written_is_flushed_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, flushed: int
) -> None:
    calls = list[int]()
    monkeypatch.setattr(os, "fsync", calls.append)
    (tmp_path / "source").write_text("content")
    link_file(tmp_path / "source", tmp_path / "target", mode)
    assert len(calls) == flushed


def test_a_changed_source_is_published_anew(tmp_path: Path) -> None:
    source = tmp_path / "source"
    target = tmp_path / "target"
    for mode in ("auto", "copy", "symlink"):
        for text in ("first", "other"):
            source.unlink(missing_ok=True)
            source.write_text(text)
            link_file(source, target, mode)
            assert target.read_text() == text


def test_without_hard_links_auto_copies_and_hard_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "source").write_text("content")
    link_file(tmp_path / "source", tmp_path / "target", "auto")
    assert (tmp_path / "target").read_text() == "content"
    with pytest.raises(DatasetError, match=r"set 'publish: \{link: copy\}'"):
        link_file(tmp_path / "source", tmp_path / "other", "hard")
    assert not (tmp_path / "other").exists()
