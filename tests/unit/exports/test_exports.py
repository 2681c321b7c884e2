"""Each export, read by the library or the loader's own way that it is for."""

import gzip
import itertools
import json
import os
import re
import shutil
import tarfile
from pathlib import Path
from types import ModuleType

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from acdc_medsam.acdc.citation import NOTICE_NAME
from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.errors import DatasetError
from acdc_medsam.exports.folder import Published
from acdc_medsam.exports.lists import order_patients
from acdc_medsam.exports.registry import LAYOUTS
from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.stages.split_rule import SplitRule
from acdc_medsam.stages.stratified import rank
from indexes import is_whole
from small_dataset import SmallDataset


class Exports:
    """The exports of a small dataset."""

    def __init__(self, small: SmallDataset, raw: Path) -> None:
        self.small, self.raw = small, raw
        self.volumes = [path for patient in find_cohort(raw).patients for path in patient.sources[1:]]
        self.digests = {str(path): sha256_file(path) for path in self.volumes}

    @property
    def rows(self) -> list[dict[str, str]]:
        return read_table(self.small.data / "manifest.tsv")

    def folder(self, name: str) -> Path:
        return self.small.output / "data/exports" / name

    def index(self, name: str) -> Path:
        return self.small.work / "exports" / f"{name}.tsv"

    def make(self, name: str, link: str = "auto") -> Path:
        published = Published(self.small.data / "manifest.tsv", self.small.index)
        volumes = {str(path): self.digests[str(path)] for path in self.volumes}
        values = {"volumes": volumes, "link": link, "seed": 1}
        options = {option: values[option] for option in LAYOUTS[name].options}
        if name == "webdataset":
            options["shard_slices"] = 3  # several shards for few slices
        LAYOUTS[name].export(published, self.folder(name), self.index(name), **options)
        return self.folder(name)


NAMES = tuple(LAYOUTS)


@pytest.fixture
def exports(small: SmallDataset, raw: Path, tmp_path: Path) -> Exports:
    """A small dataset, and raw files of its own, since exports link to them."""
    return Exports(small, Path(shutil.copytree(raw, tmp_path / "raw")))


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def splits_of(exports: Exports) -> dict[str, str]:
    return {row["patient"]: row["split"] for row in exports.rows}


@pytest.mark.parametrize("name", NAMES)
def test_an_export_is_the_same_again_and_leaves_nothing_behind(exports: Exports, name: str) -> None:
    first = listing(exports.make(name))
    assert is_whole(exports.index(name))
    assert {row["file"] for row in read_table(exports.index(name))} == {
        os.path.relpath(exports.folder(name) / file, exports.index(name).parent) for file in first
    }
    notice = first[NOTICE_NAME].decode()
    assert "CC BY-NC-SA 4.0" in notice and "10.1109/TMI.2018.2837502" in notice
    assert listing(exports.make(name)) == first
    foreign = exports.folder(name) / "notes.txt"
    foreign.touch()
    exports.small.publish(seed=next(seed for seed in range(99) if moved(exports, seed)))
    after = listing(exports.make(name))
    assert after.pop("notes.txt") == b""
    assert after != first
    shutil.rmtree(exports.folder(name))
    assert listing(exports.make(name)) == after


def moved(exports: Exports, seed: int) -> bool:
    """Publish with another seed, and say whether that moved a patient."""
    before = splits_of(exports)
    exports.small.publish(seed=seed)
    return splits_of(exports) != before


@pytest.mark.parametrize("name", NAMES)
def test_no_export_touches_what_it_is_made_from(exports: Exports, name: str) -> None:
    def state() -> dict[Path, tuple[int, int, int]]:
        roots = (exports.raw, exports.small.data, exports.small.work / "png")
        files = [path for root in roots for path in root.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mode, path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    before = state()
    for link in ("auto", "copy", "symlink", "hard"):
        exports.make(name, link)
    assert state() == before


@pytest.mark.parametrize("name", ["nnunet", "lists"])
def test_exports_of_whole_volumes_need_a_split_by_patient(exports: Exports, name: str) -> None:
    exports.small.publish(unit="slice")
    with pytest.raises(
        DatasetError, match=r"is in (train and in val|val and in train), .*set 'split: \{unit: patient\}'"
    ):
        exports.make(name)


@pytest.mark.parametrize(
    ("rule", "folds"),
    [
        (SplitRule("nnunet", 1), {1: "patient003", 2: "patient002", 3: "patient001"}),
        (SplitRule("wsl4mis", 2), {}),
        (SplitRule(fold=0), None),
    ],
    ids=["nnunet", "wsl4mis", "stratified"],
)
def test_nnunet_has_all_folds_if_the_split_is_one(
    exports: Exports, rule: SplitRule, folds: dict[int, str] | None
) -> None:
    exports.small.publish(rule=rule)
    entries = json.loads((exports.make("nnunet") / "splits_final.json").read_text())
    assert len(entries) == 5
    own = entries[rule.fold - 1 if rule.scheme == "wsl4mis" else rule.fold]
    for case in (*own["train"], *own["val"]):
        assert splits_of(exports)[case.split("_")[0]] == ("val" if case in own["val"] else "train")
    val = {place: sorted({case.split("_")[0] for case in entry["val"]}) for place, entry in enumerate(entries)}
    assert sum(map(len, val.values())) == 3 and all(len(e["train"]) + len(e["val"]) == 6 for e in entries)
    if rule.scheme == "nnunet":
        assert val == {place: [folds[place]] if place in folds else [] for place in range(5)}


def test_exports_follow_a_test_split_of_training_patients(exports: Exports) -> None:
    exports.small.publish(rule=SplitRule("ssl4mis"))
    folder = exports.make("nnunet")
    assert {path.name.split("_")[0] for path in (folder / "imagesTs").iterdir()} == {"patient001"}
    assert {path.name.split("_")[0] for path in (folder / "labelsTr").iterdir()} == {"patient002", "patient003"}
    assert len(json.loads((folder / "splits_final.json").read_text())) == 1
    lists = exports.make("lists")
    assert {name.split("_")[0] for name in (lists / "test.list").read_text().split()} == {"patient001"}


def test_the_lists_have_ssl4mis_order_of_training_patients() -> None:
    names = [f"patient{number:03d}" for number in range(1, 101)]
    ordered = order_patients(names, "ssl4mis", 2026)
    assert ordered[:4] == ["patient099", "patient038", "patient050", "patient100"]
    assert sorted(ordered) == names
    assert order_patients(names, "stratified", 2026) == rank(names, 2026) != ordered


def test_nnunet_has_the_original_voxels_and_the_same_split(exports: Exports) -> None:
    folder, splits = exports.make("nnunet"), splits_of(exports)
    for source in exports.volumes:
        part = "Ts" if splits[source.parent.name] == "test" else "Tr"
        stem = source.name.removesuffix(".nii.gz")
        name = f"labels{part}/{stem[:-3]}.nii.gz" if stem.endswith("_gt") else f"images{part}/{stem}_0000.nii.gz"
        copy = folder / name
        assert copy.read_bytes() == source.read_bytes() and not copy.samefile(source)
    split = json.loads((folder / "splits_final.json").read_text())
    cases = [path.name.removesuffix(".nii.gz") for path in (folder / "labelsTr").iterdir()]
    assert sorted(split[0]["train"] + split[0]["val"]) == sorted(cases)
    assert all(splits[case.split("_")[0]] == side for side in ("train", "val") for case in split[0][side])
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == len(cases) == 6


def test_nnunet_itself_finds_nothing_wrong(
    exports: Exports, integrity: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exports.make("nnunet")
    integrity.verify_dataset_integrity(str(folder), num_processes=1)
    assert "verify_dataset_integrity Done" in capsys.readouterr().out
    label = next((folder / "labelsTr").iterdir())
    image = nib.load(label)
    label.unlink()
    nib.save(nib.Nifti1Image(np.full(image.shape, 4, np.uint8), image.affine), label)
    with pytest.raises(RuntimeError, match="unexpected labels"):
        integrity.verify_dataset_integrity(str(folder), num_processes=1)


def test_nnunet_gets_one_file_ending_from_plain_volumes_too(exports: Exports) -> None:
    packed = exports.volumes[0]
    plain = packed.with_suffix("")
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    exports.volumes[0] = plain
    exports.digests[str(plain)] = sha256_file(plain)
    folder = exports.make("nnunet")
    ours = next(folder.glob(f"images*/{plain.stem}_0000.nii.gz"))
    np.testing.assert_array_equal(np.asanyarray(nib.load(ours).dataobj), np.asanyarray(nib.load(plain).dataobj))


def test_webdataset_reads_every_slice_once(exports: Exports) -> None:
    folder, seen = exports.make("webdataset"), set()
    for split in ("train", "val", "test"):
        shards = sorted(map(str, folder.glob(f"{split}-*.tar")))
        for sample in webdataset.WebDataset(shards, shardshuffle=False).decode("pil"):
            row = sample["json"]
            assert row["slice"] == sample["__key__"] and row["split"] == split
            published = exports.small.data / split
            for kind in ("image", "mask"):
                ours = np.asarray(sample[f"{kind}.png"].convert("L"))
                np.testing.assert_array_equal(ours, np.asarray(Image.open(published / f"{kind}s/{row['slice']}.png")))
            embedding = torch.load(exports.small.data / row["embedding"], weights_only=True)
            assert torch.equal(sample["embedding.pth"], embedding)
            seen.add(row["slice"])
    assert seen == {row["slice"] for row in exports.rows}


def test_shards_say_nothing_of_the_machine(exports: Exports) -> None:
    for shard in exports.make("webdataset").glob("*.tar"):
        with tarfile.open(shard) as tar:
            assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}


def test_lists_are_read_as_ssl4mis_reads_them(exports: Exports) -> None:
    base_dir, splits = str(exports.make("lists")), splits_of(exports)
    for split in ("train", "val", "test"):
        for name, pattern, folder in (
            (f"{split}_slices.list", "{}_slice_[0-9]+", "/data/slices/{}.h5"),
            (f"{split}.list", "{}", "/data/{}.h5"),
        ):
            with open(base_dir + "/" + name) as file:  # noqa: PTH123 as BaseDataSets does
                cases = [item.replace("\n", "") for item in file.readlines()]
            assert len(cases) == len(set(cases)) > 0
            assert {case.split("_")[0] for case in cases} == {key for key, side in splits.items() if side == split}
            for case in cases:
                assert re.fullmatch(pattern.format(r"patient\d+_frame\d+"), case)
                with h5py.File(base_dir + folder.format(case), "r") as h5:
                    assert h5["image"][:].shape == h5["label"][:].shape
        volumes, slices = (Path(base_dir, f"{split}{e}.list").read_text().split() for e in ("", "_slices"))
        assert len(slices) == 3 * len(volumes), "slices without structures are in the H5 folders and in the lists"
        patients = [name.split("_")[0] for name in slices]
        assert len(set(patients)) == 1 + sum(a != b for a, b in itertools.pairwise(patients))


def test_the_h5_folders_are_read_as_wsl4mis_reads_them(exports: Exports) -> None:
    base_dir, train_ids = str(exports.small.output), ["patient001", "patient002"]
    for split, folder, each in (("train", "/ACDC_training_slices", 6), ("val", "/ACDC_training_volumes", 2)):
        found = os.listdir(base_dir + folder)  # noqa: PTH208 as BaseDataSets does
        cases = [name for ids in train_ids for name in found if re.match(f"{ids}.*", name) is not None]
        assert len(cases) == each * len(train_ids)
        for case in cases:
            with h5py.File(base_dir + folder + f"/{case}", "r") as h5:
                assert h5["image"][:].ndim == h5["label"][:].ndim == (2 if split == "train" else 3)


def test_structures_are_binary_and_share_images_and_embeddings(exports: Exports) -> None:
    folder, data = exports.make("structures"), exports.small.data
    for row in exports.rows:
        name, split = row["slice"], row["split"]
        label = np.asarray(Image.open(data / split / "masks" / f"{name}.png"))
        for structure, value in LABELS.items():
            own = folder / split / structure
            assert (own / "masks" / f"{name}.png").exists() == bool((label == value).any())
            if (label == value).any():
                np.testing.assert_array_equal(np.asarray(Image.open(own / "masks" / f"{name}.png")), label == value)
                assert (own / "images" / f"{name}.png").samefile(data / split / "images" / f"{name}.png")
                assert (own / "image_embeddings" / f"{name}.pt").samefile(data / row["embedding"])
    kinds = {len(list(folder.glob(f"*/*/{kind}/*"))) for kind in ("images", "masks", "image_embeddings")}
    assert len(kinds) == 1


@pytest.mark.parametrize("name", ["webdataset", "structures"])
def test_exports_without_embeddings(exports: Exports, name: str) -> None:
    exports.small.publish(embeddings=False)
    folder = exports.make(name)
    if name == "structures":
        assert not list(folder.rglob("*.pt")) and list(folder.rglob("masks/*.png"))
    else:
        sample = next(iter(webdataset.WebDataset(str(next(folder.glob("train*"))), shardshuffle=False)))
        assert {key for key in sample if not key.startswith("__")} == {"image.png", "mask.png", "json"}


def test_an_edited_module_re_runs_the_exports_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: layout.code for name, layout in LAYOUTS.items()}
    assert len(set(before.values())) == len(LAYOUTS)
    read_bytes = Path.read_bytes
    for edited, users in (("lists.py", {"lists"}), ("folder.py", {*LAYOUTS}), ("registry.py", set())):
        monkeypatch.setattr(
            Path, "read_bytes", lambda path, edited=edited: read_bytes(path) + b"# edited\n" * (path.name == edited)
        )
        assert {name for name, layout in LAYOUTS.items() if layout.code != before[name]} == users
