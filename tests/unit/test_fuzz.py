"""Any file or configuration from outside gives a right result or one of the project's own errors.

``python -m pytest tests/unit/test_fuzz.py --hypothesis-profile=fuzz`` tries more than 50,000 cases.
"""

import contextlib
import gzip
import io
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from acdc_medsam.acdc.labels import GROUPS
from acdc_medsam.acdc.raw_nifti import Frame, read_patient
from acdc_medsam.config import check_config, load_schema
from acdc_medsam.encoders.checkpoint import read_weights
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import AcdcError, CheckpointError, CohortError, ConfigError, DatasetError, VolumeError
from acdc_medsam.formats.h5 import MAX_VOXELS, read_h5, read_outside_h5, write_h5
from acdc_medsam.formats.png import MAX_PIXELS, RowFilter, encode_png, read_gray
from acdc_medsam.stages.normalize import normalize_intensities, read_frame
from acdc_medsam.stages.render import read_slices, resize_image, resize_label
from acdc_medsam.stages.split import assign_splits
from acdc_medsam.stages.split_rule import SplitRule
from acdc_medsam.stages.stratified import FOLDS
from acdc_medsam.verify.copy import read_provenance

SCHEMA = load_schema(Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml")

SHAPE = (5, 4, 3)
FEW = settings(max_examples=max(20, settings().max_examples // 20))
"""Settings for tests that write larger files."""


def nifti(array: Any, kind: Any = nib.Nifti1Image) -> bytes:
    image = kind(array, np.diag([-1.5, -1.5, 8, 1]))
    image.set_qform(image.affine, code=1)
    data: bytes = image.to_bytes()
    return data


IMAGES = [
    nifti(np.arange(60, dtype=dtype).reshape(SHAPE), kind)
    for dtype, kind in ((np.int16, nib.Nifti1Image), (np.float32, nib.Nifti1Image), (np.uint8, nib.Nifti2Image))
]
LABEL = nifti((np.arange(60) % 4).astype(np.uint8).reshape(SHAPE))

numbers = st.one_of(
    st.integers(-(2**15), 2**15 - 1).map(lambda n: struct.pack("<h", n)),
    st.integers(-(2**31), 2**31 - 1).map(lambda n: struct.pack("<i", n)),
    st.floats(width=32).map(lambda n: struct.pack("<f", n)),
    st.sampled_from([2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 2304]).map(
        lambda n: struct.pack("<h", n)
    ),
    st.binary(min_size=1, max_size=8),
)
offsets = st.one_of(st.sampled_from([0, 40, 42, 44, 46, 48, 70, 72, 76, 80, 84, 88, 108, 112, 116, 252, 254, 256, 280]),
                   st.integers(0, 411))  # fmt: skip
edits = st.lists(st.tuples(offsets, numbers), max_size=4)
"""Offsets in a header, mainly those of its fields, and what is written there."""


def edited(data: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    changed = bytearray(data)
    for offset, new in changes:
        changed[offset : offset + len(new)] = new
    return bytes(changed)


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1, mtime=0)


files = st.one_of(
    st.builds(edited, st.sampled_from(IMAGES), edits),
    st.builds(lambda data, at: data[:at], st.sampled_from(IMAGES), st.integers(0, 700)),
    st.builds(lambda data, more: data + more, st.sampled_from(IMAGES), st.binary(max_size=200)),
    st.binary(max_size=400),
)
compressed = st.one_of(
    files.map(zipped),
    st.builds(lambda data, changes: edited(zipped(data), changes), st.sampled_from(IMAGES), edits),
    st.builds(lambda data, at: zipped(data)[:at], st.sampled_from(IMAGES), st.integers(0, 300)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def assert_sound(folder: Path, name: str, data: bytes) -> None:
    """Check that reading a frame gives a usable volume, or an error that names the file."""
    frame = Frame("ED", 1, folder / name, folder / "label.nii")
    frame.image.write_bytes(data)
    frame.label.write_bytes(LABEL)
    try:
        volume = read_frame(frame)
    except VolumeError as error:
        assert name in str(error) or "label.nii" in str(error)
        return
    assert volume.image.shape == volume.label.shape == SHAPE[::-1]
    assert np.isfinite(volume.image).all() and set(np.unique(volume.label)) <= {0, 1, 2, 3}
    assert all(0 < size < math.inf for size in volume.spacing) and np.isfinite(volume.affine).all()
    # An independent reader must read the same voxels from a file that is accepted.
    reference = nib.load(frame.image)
    np.testing.assert_array_equal(volume.image.transpose(2, 1, 0), np.asanyarray(reference.dataobj))
    try:
        image = normalize_intensities(volume.image).image
    except VolumeError:
        return
    assert image.min() == 0 and image.max() == 1


@given(files)
@example(edited(IMAGES[1], [(352, struct.pack("<f", 2.5e38))]))  # one voxel was so bright that all became 0
@example(edited(IMAGES[0], [(0, b"\x00")]))  # a header of no known length, which other readers refuse
@pytest.mark.filterwarnings("ignore")
def test_any_nifti(folder: Path, data: bytes) -> None:
    assert_sound(folder, "image.nii", data)


@given(compressed)
@pytest.mark.filterwarnings("ignore")
def test_any_compressed_nifti(folder: Path, data: bytes) -> None:
    assert_sound(folder, "image.nii.gz", data)


keys = st.sampled_from(["ED", "ES", "Group", "Height", "Weight", "NbFrame", "\ufeffED"]) | st.text(max_size=4)
values = st.one_of(
    st.sampled_from(["1", "01", "2", "NOR", "rv", "1e999", "nan", "-1", "", " 1 ", "\u0661", "1.0"]),
    st.integers().map(str),
    st.text(max_size=8),
)
lines = st.builds(lambda *parts: "".join(parts), keys, st.sampled_from([":", ": ", " : ", "=", "::", ""]), values)
infos = st.one_of(
    st.builds(lambda end, parts: end.join(parts).encode(), st.sampled_from(["\n", "\r\n", "\r"]), st.lists(lines)),
    st.lists(lines, max_size=3).map(lambda parts: "\n".join(["ED: 1", "ES: 2", "Group: NOR", *parts]).encode()),
    st.builds(lambda text, code: text.encode(code, "replace"), st.text(), st.sampled_from(["utf-16", "latin-1"])),
    st.binary(max_size=200),
)


@given(infos)
@example(b"")  # was taken for a patient without frames
@example(b"ED: " + b"1" * 5000)  # was more digits than Python turns into a number
@example(b"\x00" * 70000)
@example("ED: \u00b2\nES: \u0661\nGroup: NOR".encode())
def test_any_info(folder: Path, data: bytes) -> None:
    patient = folder / "patient001"
    patient.mkdir(exist_ok=True)
    for stem in ("frame01", "frame01_gt", "frame02", "frame02_gt"):
        (patient / f"patient001_{stem}.nii.gz").touch()
    (patient / "Info.cfg").write_bytes(data)
    try:
        found = read_patient(patient)
    except CohortError as error:
        assert all(line.startswith("patient001: ") for line in str(error).split("\n"))
        return
    assert sorted(frame.number for frame in found.frames) == [1, 2] and found.group in GROUPS
    assert all(math.isnan(size) or 0 < size < math.inf for size in (found.height, found.weight))


def names(schema: Any) -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        yield name
        yield from names(part)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(),
    st.sampled_from(["auto", "cpu", "{", "[", "&a", "cuda:0", "patient001", "x: y", "\x00", "!!python/name:os.system"]),
)  # fmt: skip
trees = st.recursive(
    scalars,
    lambda part: (
        st.lists(part, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(names(SCHEMA))) | st.text(max_size=3), part, max_size=4)
    ),
    max_leaves=8,
)
configs = st.dictionaries(
    st.sampled_from(sorted(SCHEMA["properties"])) | st.integers() | st.text(max_size=3),
    trees | st.dictionaries(st.sampled_from(sorted(names(SCHEMA))), scalars, max_size=4),
    max_size=4,
)


@given(configs)
@example({"normalize": {"percentile": math.nan}})  # was taken, and made every voxel NaN
@example({"split": {"seed": 7.0}})  # was taken, and split otherwise than 7
@example({"split": {"seed": "{"}})  # was a YAML error
@example({1: 2, "a": 3})  # could not be sorted
def test_any_configuration(config: dict[Any, Any]) -> None:
    try:
        complete = check_config(config, SCHEMA)
    except ConfigError as error:
        assert str(error).startswith("configuration refused:\n  ")
        return
    assert check_config(complete, SCHEMA) == complete
    assert math.isfinite(complete["normalize"]["percentile"]) and isinstance(complete["split"]["seed"], int)


shapes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)
volumes = st.one_of(
    hnp.arrays(hnp.integer_dtypes(endianness="="), shapes),
    hnp.arrays(hnp.unsigned_integer_dtypes(endianness="="), shapes),
    hnp.arrays(
        st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)]), shapes,
        elements={"allow_nan": False, "allow_infinity": False},
    ),
)  # fmt: skip


@given(volumes, st.sampled_from([99, 50.5, 95.0, 100]))
@example(np.array([2**62, 2**62 + 1, 2**62 + 2]), 99)  # one number as float64: was NaN
@example(np.array([2**40, 2**40 + 7], np.uint64), 99)  # memory was taken for each integer from 0 to there
@example(np.array([-(2**63), 2**63 - 1]), 99)
@example(np.array([9e307, 0.0]), 99)  # the middle of the last bin was infinite: all became 0
@example(np.array([2.5e38, 0.0], np.float32), 99)
@example(np.array([-1.7e308, 0, 1.7e308]), 99)
@example(np.array([0, 5e-324, 1e-323]), 99)
@pytest.mark.filterwarnings("ignore")
def test_any_volume_is_scaled_to_0_and_1(volume: Any, percentile: float) -> None:
    if volume.dtype.kind in "iu" and int(volume.max()) - int(volume.min()) > 2**16:
        # Keep the range of an image, at any offset.
        volume = np.maximum(volume, volume.max() - 2**16)
    try:
        result = normalize_intensities(volume, percentile)
    except VolumeError:
        return
    assert result.image.dtype == np.float32 and result.image.shape == volume.shape
    assert result.image.min() == 0 and result.image.max() == 1
    order = np.argsort(volume, axis=None)
    assert (np.diff(result.image.ravel()[order]) >= 0).all(), "what was brighter is not darker"


@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 2), elements=st.integers(0, 3)), st.integers(1, 4))
def test_labels_survive_resizing(label: Any, factor: int) -> None:
    assert set(np.unique(resize_label(label, 13))) <= set(np.unique(label))
    square = np.zeros((9, 9), np.uint8)
    square[: label.shape[0], : label.shape[1]] = label
    np.testing.assert_array_equal(resize_label(square, 9 * factor), square.repeat(factor, 0).repeat(factor, 1))


@given(hnp.arrays(np.float32, st.tuples(*[st.integers(1, 9)] * 2), elements=st.floats(0, 1, width=32)))
def test_images_stay_within_their_range(image: Any) -> None:
    gray = resize_image(image, 16)
    assert gray.min() >= np.floor(image.min() * 255) and gray.max() <= np.ceil(image.max() * 255)


@FEW
@given(hnp.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32)), st.data())
def test_slices_stack_to_the_volume(folder: Path, image: Any, data: st.DataObject) -> None:
    label = data.draw(hnp.arrays(np.uint8, image.shape, elements=st.integers(0, 3)))
    facts = {"patient": "patient001", "subset": "training", "group": "NOR", "phase": "ED", "frame": 1}
    write_h5(folder / "volume.h5", image, label, {**facts, "spacing": (10.0, 1.5, 1.5)}, chunks=(1, *image.shape[1:]))
    slices = list(read_slices(folder / "volume.h5"))
    np.testing.assert_array_equal(np.stack([item.image for item in slices]), image)
    np.testing.assert_array_equal(np.stack([item.label for item in slices]), label)
    assert [item.facts["slice_index"] for item in slices] == [str(number) for number in range(len(image))]


@given(
    st.dictionaries(st.integers(1, 200), st.tuples(st.sampled_from(GROUPS), st.integers(0, 4), st.booleans())),
    st.sampled_from(["patient", "slice"]), st.floats(0, 0.99), st.integers(0, 99), st.booleans(),
)  # fmt: skip
def test_every_slice_is_on_one_side(
    patients: dict[int, tuple[str, int, bool]], unit: str, fraction: float, seed: int, stratify: bool
) -> None:
    slices = [
        {"slice": f"p{n}_{i}", "patient": f"p{n}", "subset": "testing" if test else "training", "group": group}
        for n, (group, count, test) in patients.items()
        for i in range(count)
    ]
    rows = assign_splits(slices, SplitRule(unit=unit, validation=fraction, seed=seed, stratify=stratify))
    assert [row["slice"] for row in rows] == [row["slice"] for row in slices]
    for row, origin in zip(rows, slices, strict=True):
        test = origin["subset"] == "testing"
        assert (row["split"] == "test") == test
        assert row["split"] in ("train", "val", "test") and row["fold"] in ({""} if test else set("01234"[:FOLDS]))
    if unit == "patient":
        assert len({(row["slice"].split("_")[0], row["split"]) for row in rows}) == len({s["patient"] for s in slices})


def pngs() -> list[bytes]:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return [buffer.getvalue(), encode_png(pixels, RowFilter.UP), encode_png(pixels)]


@given(
    st.one_of(
        st.builds(edited, st.sampled_from(pngs()), st.lists(st.tuples(st.integers(0, 80), numbers), max_size=4)),
        st.builds(lambda png, at: png[:at], st.sampled_from(pngs()), st.integers(0, 100)),
        st.builds(lambda png, data: png[:33] + data, st.sampled_from(pngs()), st.binary(max_size=100)),
    )
)
@pytest.mark.filterwarnings("ignore")
def test_any_png(folder: Path, data: bytes) -> None:
    (folder / "image.png").write_bytes(data)
    try:
        pixels = read_gray(folder / "image.png")
    except DatasetError as error:
        assert "image.png" in str(error)
        return
    assert pixels.ndim == 2 and pixels.dtype == np.uint8 and pixels.size <= MAX_PIXELS


@pytest.fixture(scope="module")
def volume_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "volume.h5"
    image = np.linspace(0, 1, 60, dtype=np.float32).reshape(SHAPE)
    write_h5(path, image, np.ones(SHAPE, np.uint8), {"patient": "patient001"}, chunks=(1, *SHAPE[1:]))
    return path


@given(
    st.lists(st.tuples(st.integers(0, 2500) | st.integers(0, 15000), numbers), min_size=1, max_size=5),
    st.none() | st.integers(0, 15000),
)
def test_any_h5(volume_file: Path, folder: Path, changes: list[tuple[int, bytes]], length: int | None) -> None:
    (folder / "changed.h5").write_bytes(edited(volume_file.read_bytes(), changes)[:length])
    with contextlib.suppress(VolumeError):
        outside = read_outside_h5(folder / "changed.h5", ("patient",))
        assert all(array.size <= MAX_VOXELS for array in (outside.image, outside.label))
    try:
        content = read_h5(folder / "changed.h5", 3)
    except DatasetError as error:
        assert "changed.h5" in str(error)
        return
    assert content.image.shape == content.label.shape and content.image.size <= MAX_VOXELS
    assert content.image.dtype == np.float32 and content.label.dtype == np.uint8


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=6,
)


@given(
    st.one_of(
        st.binary(max_size=100),
        st.dictionaries(
            st.sampled_from(["format", "files", "origins", "configuration", "written", "software"]), json_trees
        ).map(lambda tree: json.dumps(tree).encode()),
    )
)
def test_any_provenance(folder: Path, data: bytes) -> None:
    (folder / "provenance.json").write_bytes(data)
    with pytest.raises(DatasetError):
        read_provenance(folder)


def weights() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}, buffer)
    return buffer.getvalue()


@FEW
@given(
    st.one_of(
        st.builds(edited, st.just(weights()), st.lists(st.tuples(st.integers(0, 1500), numbers), max_size=3)),
        st.builds(lambda at: weights()[:at], st.integers(0, 1500)),
    )
)
@pytest.mark.filterwarnings("ignore")
def test_any_checkpoint(folder: Path, data: bytes) -> None:
    (folder / "weights.pth").write_bytes(data)
    try:
        state = read_weights(folder / "weights.pth", ENCODERS["lite_medsam"])
    except CheckpointError as error:
        assert "weights.pth" in str(error)
        return
    assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_every_error_is_one_that_users_meet() -> None:
    assert all(issubclass(kind, AcdcError) for kind in (CheckpointError, CohortError, DatasetError, VolumeError))
