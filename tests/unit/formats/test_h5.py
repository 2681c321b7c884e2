import itertools
import shutil
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.h5 import _write_dataset, read_h5, write_h5

IMAGE = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
LABEL = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_h5(tmp_path / "volume.h5", IMAGE, LABEL, {"patient": "patient001"}, chunks=(1, 3, 4))
    (tmp_path / "volume.h5").chmod(0o644)
    return tmp_path / "volume.h5"


def refusal(file: Path, dimensions: int = 3) -> str:
    with pytest.raises(DatasetError) as caught:
        read_h5(file, dimensions)
    assert str(caught.value).startswith(f"{file}: ") and "`snakemake repair` makes it again" in str(caught.value)
    return str(caught.value)


def test_a_file_is_read_as_it_was_written(file: Path) -> None:
    content = read_h5(file, 3)
    np.testing.assert_array_equal(content.image, IMAGE)
    np.testing.assert_array_equal(content.label, LABEL)
    assert content.attributes == {"patient": "patient001"}


dtypes = hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes()
arrays = hnp.arrays(dtypes, hnp.array_shapes(max_dims=4, max_side=6))


@given(arrays, st.data())
def test_any_dataset_comes_back_by_the_library_s_own_filter(array: Any, data: st.DataObject) -> None:
    chunks = data.draw(st.tuples(*(st.integers(1, side) for side in array.shape)))
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        _write_dataset(file, "some", array, chunks)
        file.create_dataset("other", data=array, chunks=chunks, compression="gzip")
        some, other = file["some"], file["other"]
        assert some[:].tobytes() == array.tobytes()
        for fact in ("shape", "dtype", "chunks", "compression", "compression_opts", "shuffle", "fletcher32"):
            assert getattr(some, fact) == getattr(other, fact)
        assert some.id.get_num_chunks() == other.id.get_num_chunks()
        starts = itertools.product(*map(range, array.shape, array.shape, chunks))
        for start in ([0] * array.ndim, *starts):
            assert some.id.read_direct_chunk(tuple(start))[0] == 0, "no filter is skipped"


@pytest.mark.parametrize("dataset", ["image", "label"])
def test_h5dump_reads_what_was_written(dataset: str, tmp_path: Path) -> None:
    if shutil.which("h5dump") is None:
        pytest.skip("h5dump is not installed (Debian: apt-get install hdf5-tools)")
    written = write_h5(tmp_path / "volume.h5", IMAGE, LABEL, {}, chunks=(1, 2, 3))
    dumped = tmp_path / "dumped"
    options = ["-d", dataset, "-o", str(dumped), "-b", "LE"]
    subprocess.run(["h5dump", *options, written.path], check=True, capture_output=True)
    assert dumped.read_bytes() == {"image": IMAGE, "label": LABEL}[dataset].tobytes()


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((3, 90, 80), np.float32)
    label = (image * 4).astype(np.uint8)
    written = {
        write_h5(tmp_path / "volume.h5", image, label, {"frame": 1}, chunks=(1, 90, 80)).sha256 for _ in range(5)
    }
    assert len(written) == 1


def test_a_claim_of_40_gigabytes_allocates_no_memory(file: Path) -> None:
    with h5py.File(file, "w") as content:
        for name, dtype in (("image", "f4"), ("label", "u1")):
            content.create_dataset(name, (1, 100000, 100000), dtype, chunks=(1, 100, 100), compression="gzip")
    tracemalloc.start()
    assert "'image' claims to be (1, 100000, 100000), more than such a file holds" in refusal(file)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_missing_file_or_one_of_another_kind_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:600])
    assert "not a readable H5 file" in refusal(file)
    file.write_text("something else")
    assert "not a readable H5 file" in refusal(file)
    file.unlink()
    assert "not a readable H5 file" in refusal(file)


def test_damaged_data_are_detected(file: Path) -> None:
    with h5py.File(file) as content:
        offset = content["image"].id.get_chunk_info(0).byte_offset
    data = bytearray(file.read_bytes())
    data[offset + 4 : offset + 20] = bytes(16)
    file.write_bytes(data)
    assert "not a readable H5 file" in refusal(file)


@pytest.mark.parametrize("kind", ["soft link", "external link", "external storage", "virtual", "missing", "float64"])
def test_only_own_data_of_the_right_type_are_read(kind: str, file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(96))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["image"] = IMAGE
    with h5py.File(file, "r+") as content:
        del content["image"]
        if kind == "soft link":
            content["image"] = h5py.SoftLink("/label")
        elif kind == "external link":
            content["image"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/image")
        elif kind == "external storage":
            content.create_dataset("image", IMAGE.shape, "f4", external=[(str(secret), 0, 96)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(IMAGE.shape, "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "image", IMAGE.shape)
            content.create_virtual_dataset("image", layout)
        elif kind == "float64":
            content["image"] = IMAGE.astype(np.float64)
    assert "holds no 'image' of type float32 of its own" in refusal(file)


def test_image_and_label_must_have_the_same_shape(file: Path) -> None:
    assert "image is (2, 3, 4) and label (2, 3, 4)" in refusal(file, dimensions=2)
    with h5py.File(file, "r+") as content:
        del content["label"]
        content["label"] = LABEL[:1]
    assert "image is (2, 3, 4) and label (1, 3, 4)" in refusal(file)
