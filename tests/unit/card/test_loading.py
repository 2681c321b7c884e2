"""The published folder is a dataset for the library `datasets`, without any further code and without the internet."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acdc_medsam.formats.files import Row, read_table
from acdc_medsam.stages.split_rule import SplitRule
from small_dataset import IMAGE_SIZE, SmallDataset

if importlib.util.find_spec("datasets") is None:  # which takes long to import, and no test needs it in this process
    pytest.skip("the library datasets is not installed; `make test` installs it", allow_module_level=True)

SPLITS = {"train": "train", "val": "validation", "test": "test"}

LOAD = """
import json, numpy, datasets

dataset = datasets.load_dataset("data/ACDC")
found = {}
for split, examples in dataset.items():
    for example in examples:
        pictures = {name: example.pop(name) for name in ("image", "mask")}
        for name, picture in pictures.items():
            path = f"{example['slice']}-{name}.npy"
            numpy.save(path, numpy.asarray(picture))
            example[name] = path
        found[example["slice"]] = example | {"split": split, "modes": [one.mode for one in pictures.values()]}
features = {split: list(examples.features) for split, examples in dataset.items()}
types = {split: repr(examples.features) for split, examples in dataset.items()}
print(json.dumps([features, types, found]))
"""


def run_offline(code: str, folder: Path, cache: Path) -> str:
    """Run Python code in a folder, as a user without the internet and with an empty cache, and return its output."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache)}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(params=[True, False], ids=["with embeddings", "without embeddings"])
def described(small: SmallDataset, request: pytest.FixtureRequest) -> SmallDataset:
    """A small dataset with its card."""
    small.publish(embeddings=request.param)
    small.write_documents(embeddings=request.param)
    return small


def expected_example(row: Row) -> dict[str, Any]:
    """What `datasets` should make of a row of the manifest."""
    numbers = ("frame", "slice_index", "height", "width", "rv_pixels", "myo_pixels", "lv_pixels")
    texts = ("slice", "patient", "phase", "group", "spacing")
    return {
        "split": SPLITS[row["split"]],
        "fold": int(row["fold"] or -1),
        **{name: int(row[name]) for name in numbers},
        **{name: row[name] for name in texts},
    }


def test_an_example_is_image_mask_and_what_the_manifest_says(described: SmallDataset, tmp_path: Path) -> None:
    output = run_offline(LOAD, described.output, tmp_path / "cache")
    features, types, found = json.loads(output.splitlines()[-1])
    assert list(features) == ["train", "validation", "test"]
    assert features["train"][:3] == ["image", "mask", "slice"]
    assert len(set(types.values())) == 1 and types["train"].count("Image(") == 2

    rows = {row["slice"]: row for row in read_table(described.data / "manifest.tsv")}
    assert set(found) == set(rows)
    for name, row in rows.items():
        example = found[name]
        assert example["modes"] == ["L", "L"]
        for kind in ("image", "mask"):
            published = np.asarray(Image.open(described.data / row["split"] / f"{kind}s" / f"{name}.png"))
            np.testing.assert_array_equal(np.load(described.output / example[kind]), published)
            assert published.shape == (IMAGE_SIZE, IMAGE_SIZE)
        expected = expected_example(row)
        assert {key: example[key] for key in expected} == expected
        assert example.get("embedding", "") == row["embedding"]


def test_the_code_on_the_card_runs(described: SmallDataset, tmp_path: Path) -> None:
    card = (described.data / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 4
    said = run_offline("\n".join([*blocks[:3], "print(manifest)"]), described.output, tmp_path / "cache")

    rows = read_table(described.data / "manifest.tsv")
    train = [row for row in rows if row["split"] == "train"]
    assert said.startswith(f"{train[0]['slice']} {train[0]['group']} ({IMAGE_SIZE}, {IMAGE_SIZE})\n")
    assert f"num_rows: {len(rows)}" in said and "embedding_sha256" in said
    visible = np.asarray(Image.open(described.output / "mask.png"))
    mask = np.asarray(Image.open(described.data / f"train/masks/{train[0]['slice']}.png"))
    np.testing.assert_array_equal(visible, 85 * mask)


def test_only_splits_with_slices_are_named(small: SmallDataset, tmp_path: Path) -> None:
    small.publish(rule=SplitRule(validation=0))
    small.write_documents(rule=SplitRule(validation=0))
    assert not (small.data / "val/metadata.csv").exists()
    said = run_offline("import datasets; print(*datasets.load_dataset('data/ACDC'))", small.output, tmp_path / "cache")
    assert said == "train test\n"
