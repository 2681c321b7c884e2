"""The PyTorch dataset on the tiny phantoms, whose PNG files have 64 pixels per side."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data import (
    DataModule,
    ItemOptions,
    SliceDataset,
    jitter_box,
    positional_encoding,
    sample_points,
    tight_box,
)
from acdc_medsam.data.assignment import Assignment
from acdc_medsam.errors import ConfigError, DatasetError
from acdc_medsam.formats.files import read_table, write_table
from acdc_medsam.formats.png import read_gray
from small_dataset import SmallDataset

README = Path(__file__).parents[3] / "README.md"


@pytest.fixture(scope="module")
def root(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the dataset's folder, away from everything that it was made from; never written to."""
    dataset = SmallDataset(tmp_path_factory.mktemp("data") / "set")
    shutil.copytree(made, dataset.output)
    dataset.publish(link="copy")
    folder = tmp_path_factory.mktemp("elsewhere") / "ACDC"
    dataset.data.rename(folder)
    return folder


def test_prompts_against_results_worked_out_by_hand() -> None:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 3:7] = True
    assert tight_box(mask).tolist() == [3, 2, 6, 4]

    random = torch.Generator().manual_seed(1)
    points = sample_points(mask, 50, random)
    assert all(mask[int(y), int(x)] for x, y in points)

    moved = torch.stack([jitter_box(torch.tensor([0.0, 2, 6, 7]), 3, 8, random) for _ in range(200)])
    assert moved.min() >= 0 and moved.max() <= 7 and (moved[:, :2] <= moved[:, 2:]).all()
    assert (moved - torch.tensor([0.0, 2, 6, 7])).abs().max() <= 3 and moved.std(0).min() > 0

    for prompt in (tight_box, lambda empty: sample_points(empty, 1, random)):
        with pytest.raises(ValueError):
            prompt(torch.zeros(4, 4, dtype=torch.bool))


def test_an_item_is_what_the_files_hold(root: Path) -> None:
    dataset = SliceDataset(root, "train", ItemOptions(image=True))
    rows = [row for row in read_table(root / "manifest.tsv") if row["split"] == "train"]
    assert [item["slice"] for item in dataset] == [row["slice"] for row in rows]

    item = dataset[3]
    row = rows[3]
    mask = read_gray(root / f"train/masks/{row['slice']}.png")
    assert item["mask"].shape == (1024, 1024) and item["mask"].dtype == torch.uint8
    assert (item["mask"].numpy()[8::16, 8::16] == mask).all()
    assert (item["image"].numpy() == read_gray(root / f"train/images/{row['slice']}.png")[None]).all()
    assert torch.equal(item["embedding"], torch.load(root / row["embedding"], weights_only=True))

    for index, value in enumerate(LABELS.values()):
        assert item["present"][index] == (mask == value).any()
        if item["present"][index]:
            y, x = np.nonzero(mask == value)
            assert item["boxes"][index].tolist() == [16 * int(edge) for edge in (x.min(), y.min(), x.max(), y.max())]
    assert positional_encoding(root).shape == (1, 256, 64, 64)


def test_options_say_what_is_loaded(root: Path) -> None:
    item = SliceDataset(root, "val", ItemOptions(prompts="none", mask_size=256))[0]
    assert item["mask"].shape == (256, 256) and not {"box", "boxes", "points", "image"} & item.keys()

    one = SliceDataset(root, "train", ItemOptions(structure="RV", prompts="points", points=5))
    assert len(one) == sum(
        int(row["rv_pixels"]) > 0 for row in read_table(root / "manifest.tsv") if row["split"] == "train"
    )
    item = one[0]
    assert set(item["mask"].unique().tolist()) == {0, 1}
    assert all(item["mask"][int(y), int(x)] == 1 for x, y in item["points"])
    assert item["point_labels"].tolist() == [1] * 5
    assert SliceDataset(root, "train", ItemOptions(structure="LV"))[0]["box"].shape == (4,)


def test_what_is_drawn_depends_on_seed_and_epoch_alone(root: Path) -> None:
    def boxes(workers: int, **changes: int) -> torch.Tensor:
        dataset = SliceDataset(root, "train", ItemOptions(box_jitter=30, seed=changes.get("seed", 1)))
        dataset.epoch = changes.get("epoch", 0)
        loader = DataLoader(dataset, batch_size=4, num_workers=workers)
        return torch.cat([batch["boxes"] for batch in loader])

    first = boxes(0)
    assert torch.equal(first, boxes(2)) and torch.equal(first, boxes(0))
    assert not torch.equal(first, boxes(0, epoch=1)) and not torch.equal(first, boxes(0, seed=2))


def test_the_order_of_training_depends_on_the_seed_alone(root: Path) -> None:
    def order(module: DataModule) -> list[str]:
        return [name for batch in module.train_dataloader() for name in batch["slice"]]

    first = order(DataModule(root))
    assert first == order(DataModule(root)) != order(DataModule(root, ItemOptions(seed=1)))
    assert sorted(first) == sorted(item["slice"] for item in SliceDataset(root))
    for split, loader in (("val", DataModule(root).val_dataloader()), ("test", DataModule(root).test_dataloader())):
        rows = SliceDataset(root, split).rows
        assert [name for batch in loader for name in batch["slice"]] == [row["slice"] for row in rows]


def test_mistakes_are_named(root: Path, tmp_path: Path, small: SmallDataset) -> None:
    with pytest.raises(DatasetError, match=r"manifest.tsv is missing"):
        SliceDataset(tmp_path)
    with pytest.raises(DatasetError, match="no slice of the split 'none'"):
        SliceDataset(root, "none")
    with pytest.raises(ConfigError, match="structure: 'lung' given; expected one of RV, MYO, LV"):
        ItemOptions(structure="lung")
    with pytest.raises(DatasetError, match=r"pe.pt cannot be read"):
        positional_encoding(tmp_path)
    small.publish(embeddings=False)
    with pytest.raises(DatasetError, match="made without an encoder"):
        SliceDataset(small.data)


def rewrite_manifest(root: Path, **changes: str) -> str:
    """Change columns of the manifest's first row in train; returns the name of its slice afterward."""
    manifest = root / "manifest.tsv"
    rows = read_table(manifest)
    row = next(row for row in rows if row["split"] == "train")
    row.update(changes)
    manifest.unlink()
    write_table(manifest, list(row), rows)
    return row["slice"]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("embedding", "{outside}/secret.pt"),
        ("embedding", "../outside/secret.pt"),
        ("embedding", "train/../../outside/secret.pt"),
        ("embedding", ""),
        ("slice", "{outside}/secret"),
        ("slice", "../../../outside/secret"),
        ("slice", "folder/secret"),
        ("slice", "nul\0"),
    ],
)
def test_a_manifest_that_names_files_outside_is_refused(column: str, name: str, root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ACDC"
    outside = tmp_path / "outside"
    shutil.copytree(root, copy)
    outside.mkdir()
    shutil.copy(next(copy.glob("train/image_embeddings/*.pt")), outside / "secret.pt")
    shutil.copy(next(copy.glob("train/masks/*.png")), outside / "secret.png")
    name = name.format(outside=outside)

    slice_name = rewrite_manifest(copy, **{column: name})
    message = f"{copy}/manifest.tsv, slice {slice_name!r}: {name!r} is not the name of a file in the dataset's folder"
    with pytest.raises(DatasetError, match=re.escape(message) + ".* copy the dataset again from where it was made"):
        SliceDataset(copy, "train", ItemOptions(image=True))[0]


def test_a_split_that_names_a_folder_outside_is_refused(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ACDC"
    shutil.copytree(root, copy)
    rewrite_manifest(copy, split="../outside")
    with pytest.raises(DatasetError, match=r"no slice of the split '\.\./outside'; choose another split"):
        SliceDataset(copy, "../outside")


def test_links_of_a_dataset_published_with_links_are_followed(small: SmallDataset) -> None:
    small.publish(link="symlink")
    dataset = SliceDataset(small.data, "train", ItemOptions(image=True))
    assert (small.data / dataset.rows[0]["embedding"]).is_symlink()
    assert dataset[0]["embedding"].shape == (256, 64, 64) and dataset[0]["image"].shape == (1, 64, 64)


def test_loading_needs_neither_snakemake_nor_a_training_library() -> None:
    code = "import sys, acdc_medsam.data; print({'snakemake', 'pytorch_lightning', 'monai'} & sys.modules.keys())"
    environment = {**os.environ, "PYTHONPATH": str(README.parent / "workflow/scripts")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_the_example_of_a_page_works(root: Path, page: str) -> None:
    names = run_example(root, page)
    assert isinstance(names["batch"], dict) and names["batch"]["embedding"].shape[1:] == (256, 64, 64)


def test_the_example_of_the_reference_works(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_example(root, "docs/api.md")
    assert "torch.Size([1, " in capsys.readouterr().out


def run_example(root: Path, page: str) -> dict[str, object]:
    """Run the Python code on a page with another dataset; return its variables."""
    example = re.search(r"```python\n(.*?)```", (README.parent / page).read_text(), re.DOTALL)
    assert example is not None
    names: dict[str, object] = {}
    exec(re.sub(r'"(?:demo/out/)?data/ACDC"', repr(str(root)), example[1]), names)
    return names


def test_an_assignment_takes_slices_from_where_they_are_published(root: Path) -> None:
    published = SliceDataset(root, "train", ItemOptions(image=True))
    patients = {row["patient"] for row in published.rows}
    held_out = Assignment(dict.fromkeys(patients, "test"))
    moved = SliceDataset(root, "test", ItemOptions(image=True), held_out)
    assert moved.rows == published.rows
    for key in ("embedding", "mask", "image"):
        assert torch.equal(moved[0][key], published[0][key])
    with pytest.raises(DatasetError, match="no slice of the split 'val'"):
        SliceDataset(root, "val", assignment=held_out)
    loader = DataModule(root, ItemOptions(), batch_size=1, assignment=held_out).test_dataloader()
    assert len(loader) == len(published)
