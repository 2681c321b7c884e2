import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from acdc_medsam.card.card import size_category, summarize_splits
from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.stages.split_rule import SplitRule
from small_dataset import IMAGE_SIZE, SmallDataset


@pytest.mark.parametrize(("slices", "category"), [(1, "n<1K"), (999, "n<1K"), (1841, "1K<n<10K"), (10**6, "100K<n<1M")])
def test_size_category(slices: int, category: str) -> None:
    assert size_category(slices) == category


@pytest.mark.parametrize("embeddings", [True, False])
def test_the_card(small: SmallDataset, monkeypatch: pytest.MonkeyPatch, embeddings: bool) -> None:
    small.publish(embeddings=embeddings)
    small.write_documents(embeddings=embeddings)
    card = (small.data / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["license"] == "cc-by-nc-sa-4.0"
    assert facts["task_categories"] == ["image-segmentation"]
    assert facts["size_categories"] == ["n<1K"]
    for config in facts["configs"][:2]:
        for part in config["data_files"]:
            assert list(small.data.glob(part["path"])), part
    assert (small.data / facts["configs"][2]["data_files"]).is_file() and facts["configs"][2]["sep"] == "\t"
    for row in summarize_splits(read_table(small.data / "manifest.tsv")):
        assert f"| {row['split']} | {row['patients']} | {row['frames']} | {row['slices']} |" in body
    assert "10.1109/TMI.2018.2837502" in body and "10.1038/s41467-024-44824-z" in body and "CC BY-NC-SA 4.0" in body
    assert "All slices of a patient are in one split." in body
    assert ("image_embeddings" in body) == embeddings
    code = re.search(r"```python\n(.*?)```", body, re.DOTALL)
    assert code is not None
    found: dict[str, object] = {}
    monkeypatch.chdir(small.output)
    exec(code[1], found)
    assert np.shape(found["image"]) == np.shape(found["mask"]) == (IMAGE_SIZE, IMAGE_SIZE)
    if embeddings:
        assert isinstance(found["embedding"], torch.Tensor) and found["embedding"].shape == (256, 64, 64)


def test_the_card_names_the_source_of_a_published_split(small: SmallDataset) -> None:
    rule = SplitRule("nnunet", 1)
    small.publish(rule=rule)
    small.write_documents(rule=rule)
    card = (small.data / "README.md").read_text()
    assert "The split: nnunet, fold 1, as published in MIC-DKFZ/nnUNet, nnunetv2/dataset_conversion" in card
    assert "ranking by a hash" not in card


def test_the_card_warns_of_a_split_by_slice(small: SmallDataset) -> None:
    small.publish(unit="slice")
    small.write_documents(unit="slice")
    assert "validation measures memory as well as skill" in (small.data / "README.md").read_text()


@pytest.mark.parametrize("embeddings", [True, False])
def test_mlcroissant_validates_it_and_loads_its_records(
    small: SmallDataset, caplog: pytest.LogCaptureFixture, embeddings: bool
) -> None:
    import mlcroissant as mlc  # takes a second, which other tests need not wait for

    small.publish(embeddings=embeddings)
    small.write_documents(embeddings=embeddings)
    with caplog.at_level(logging.WARNING):
        dataset = mlc.Dataset(str(small.data / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and not issues.warnings and not caplog.records, issues.report()
    rows = {row["slice"]: row for row in read_table(small.data / "manifest.tsv")}
    splits = [record["splits/name"] for record in dataset.records("splits")]
    assert splits == ["train", "val", "test"]
    records = {text(record["slices/slice"]): record for record in dataset.records("slices")}
    assert set(records) == set(rows)
    name, row = next(iter(rows.items()))
    assert records[name]["slices/lv_pixels"] == int(row["lv_pixels"])
    assert text(records[name]["slices/split"]) == row["split"]
    assert bool(records[name]["slices/embedding"]) == embeddings
    for kind in ("images", "masks"):
        found = {text(record[f"{kind}/slice"]): record for record in dataset.records(kind)}
        assert set(found) == set(rows)
        assert all(text(record[f"{kind}/split"]) == rows[key]["split"] for key, record in found.items())
        loaded = found[name][f"{kind}/image"].convert("L")  # mlcroissant converts every picture to RGB
        published = Image.open(small.data / row["split"] / kind / f"{name}.png")
        np.testing.assert_array_equal(np.asarray(loaded), np.asarray(published))


def text(value: bytes | str) -> str:
    """Decode a value of mlcroissant, which returns some texts as bytes."""
    return value.decode() if isinstance(value, bytes) else value


def test_croissant_names_license_citation_and_manifest(small: SmallDataset) -> None:
    small.write_documents()
    content = json.loads((small.data / "croissant.json").read_text())
    assert content["license"] == "https://creativecommons.org/licenses/by-nc-sa/4.0/"
    assert "bernard2018acdc" in content["citeAs"] and "ma2024medsam" in content["citeAs"]
    assert content["distribution"][0]["sha256"] == sha256_file(small.data / "manifest.tsv")


def test_the_same_dataset_gives_the_same_bytes(small: SmallDataset) -> None:
    names = ("README.md", "croissant.json")
    contents = []
    for _ in range(2):
        small.write_documents()
        contents.append([(small.data / name).read_bytes() for name in names])
        for name in names:
            Path(small.data / name).unlink()
    assert contents[0] == contents[1]
