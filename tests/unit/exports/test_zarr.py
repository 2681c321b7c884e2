"""The export zarr, read by the library zarr."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from acdc_medsam.errors import ConfigError, DatasetError
from acdc_medsam.exports.registry import LAYOUTS, require_exportable
from acdc_medsam.layout import EMBEDDING_SHAPE
from exported import Exports

LIBRARY = pytest.importorskip("zarr", reason="zarr is not installed; `make test` installs it")


@pytest.mark.parametrize(("dtype", "relative"), [("float16", 2**-11), ("float32", 0)])
def test_an_array_has_the_embeddings_in_the_order_of_the_manifest(
    exports: Exports, dtype: str, relative: float
) -> None:
    folder = exports.make("zarr", dtype=dtype)
    for split in ("train", "val", "test"):
        rows = [row for row in exports.rows if row["split"] == split]
        array = LIBRARY.open_array(folder / f"{split}.zarr", mode="r")
        assert array.metadata.zarr_format == 3
        assert array.shape == (len(rows), *EMBEDDING_SHAPE) and array.dtype == dtype
        assert array.attrs["slices"] == [row["slice"] for row in rows]
        assert array.attrs["encoder"] == rows[0]["encoder"]
        for number, row in enumerate(rows):
            published = torch.load(exports.small.data / row["embedding"], weights_only=True).numpy()
            # The smallest normal float16 is 6e-5; below it, numbers are 6e-8 apart.
            np.testing.assert_allclose(array[number], published, rtol=relative, atol=3e-8 if relative else 0)


def test_a_chunk_is_an_embedding_and_a_shard_one_file(exports: Exports) -> None:
    folder = exports.make("zarr")
    for path in folder.glob("*.zarr"):
        array = LIBRARY.open_array(path, mode="r")
        assert array.chunks == (1, *EMBEDDING_SHAPE) and array.shards == (min(3, array.shape[0]), *EMBEDDING_SHAPE)
        shards = -(-array.shape[0] // 3)
        assert sorted(file.name for file in path.iterdir()) == sorted(
            ["zarr.json", *(f"c.{number}.0.0.0" for number in range(shards))]
        )


def test_a_shard_needs_no_library_to_be_understood(exports: Exports) -> None:
    """Zarr's specification: the chunks, then offset and length of each as 64-bit integers, then a checksum."""
    path = exports.make("zarr", dtype="float32") / "train.zarr"
    names = json.loads((path / "zarr.json").read_text())["attributes"]["slices"]
    data = (path / "c.0.0.0.0").read_bytes()
    index = np.frombuffer(data[-4 - 3 * 16 : -4], "<u8").reshape(3, 2)
    for name, (offset, length) in zip(names, index.tolist(), strict=False):
        values = np.frombuffer(data[offset : offset + length], "<f4").reshape(EMBEDDING_SHAPE)
        published = torch.load(exports.small.data / f"train/image_embeddings/{name}.pt", weights_only=True)
        np.testing.assert_array_equal(values, published)


def test_values_beyond_float16_are_refused(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    large = np.full(EMBEDDING_SHAPE, 65_505, np.float32)
    monkeypatch.setattr("acdc_medsam.exports.zarr.read_values", lambda *arguments: large)
    exports.make("zarr", dtype="float32")
    with pytest.raises(DatasetError, match=r"values that float16 cannot hold; set 'exports: \{zarr: \{dtype: float32"):
        exports.make("zarr")


def test_an_array_that_is_being_written_cannot_be_opened(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    folder: Path = exports.make("zarr")
    monkeypatch.setattr("acdc_medsam.exports.zarr.read_values", stop)
    with pytest.raises(KeyboardInterrupt):
        exports.make("zarr")
    with pytest.raises(FileNotFoundError):
        LIBRARY.open_array(folder / "train.zarr", mode="r")


@pytest.fixture
def no_zarr(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Python as it is where the library zarr is not installed."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "zarr" else find_spec(name))
    return importlib.util


def test_a_missing_library_is_said_before_any_job_and_in_the_job(exports: Exports, no_zarr: ModuleType) -> None:
    message = "the export zarr needs zarr: pip install zarr$"
    with pytest.raises(ConfigError, match=message):
        require_exportable("zarr", "medsam_vit_b", by_own_libraries=True)
    with pytest.raises(ConfigError, match=message):
        exports.make("zarr")
    # Under --sdm conda, the jobs have an environment with the library.
    require_exportable("zarr", "medsam_vit_b", by_own_libraries=False)
    for name in {*LAYOUTS} - {"zarr"}:
        require_exportable(name, "medsam_vit_b", by_own_libraries=True)


def test_without_embeddings_only_what_consists_of_them_is_refused() -> None:
    needing = set()
    for name in LAYOUTS:
        try:
            require_exportable(name, "none", by_own_libraries=True)
        except ConfigError as error:
            assert f"the export {name} needs embeddings" in str(error)
            needing.add(name)
    assert needing == {"automedsam", "zarr"}
