import shutil
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from acdc_medsam.acdc.raw_nifti import Frame, read_patient
from acdc_medsam.errors import DatasetError, VolumeError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.formats.index import read_index_comments
from acdc_medsam.stages.normalize import normalize_intensities, normalize_patient, read_frame
from indexes import files_of, is_whole


def test_integers_get_one_bin_each() -> None:
    # 0..199 once each: the cumulative distribution reaches 0.99 at the 198th value, which is 197.
    volume = np.arange(200, dtype=np.int16).reshape(2, 10, 10)
    result = normalize_intensities(volume, 99)
    assert result.clip_level == 197
    assert (result.raw_min, result.raw_max) == (0, 199)
    np.testing.assert_allclose(result.image.ravel(), np.minimum(np.arange(200), 197) / 197, rtol=1e-6)


def test_floats_get_256_bins() -> None:
    # 256 bins over [0, 199]: the 198th value, 197, lies in bin floor(197 / (199 / 256)) = 253 with center 197.06.
    volume = np.arange(200, dtype=np.float64).reshape(2, 10, 10)
    assert normalize_intensities(volume, 99).clip_level == pytest.approx(253.5 * 199 / 256)


def test_the_difference_of_two_int16_does_not_overflow() -> None:
    volume = np.array([-30000, 30000] * 50, dtype=np.int16)
    assert set(normalize_intensities(volume, 99).image.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize(("other", "rare"), [(100, 0), (100, 1), (-100, 1), (100, 10)])
def test_intensities_without_a_range_are_refused(dtype: type, other: int, rare: int) -> None:
    volume = np.full((10, 10, 10), 7, dtype)
    volume.flat[:rare] = other
    with pytest.raises(VolumeError, match=rf"no range to scale: {100 - rare / 10}% of the voxels are one value"):
        normalize_intensities(volume)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=8))
    | hnp.arrays(np.float32, (2, 6, 6), elements=st.floats(-1e6, 1e6, width=32))
)
def test_any_volume_gives_an_image_within_0_and_1_or_an_error(volume: np.ndarray) -> None:
    try:
        image = normalize_intensities(volume).image
    except VolumeError:
        return
    assert image.dtype == np.float32 and image.shape == volume.shape
    assert image.min() == 0 and image.max() == 1


@pytest.fixture
def patient(raw: Path, tmp_path: Path) -> Path:
    return shutil.copytree(raw / "training/patient001", tmp_path / "training/patient001")


def first_frame(patient: Path) -> Frame:
    return read_patient(patient).frames[0]


def rewrite(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> None:
    old = nib.load(path)
    nib.save(nib.Nifti1Image(data, old.affine if affine is None else affine), path)


def test_axis_order_and_spacing_are_as_in_simpleitk(patient: Path) -> None:
    frame = first_frame(patient)
    volume, reference = read_frame(frame), sitk.ReadImage(str(frame.image))
    np.testing.assert_array_equal(volume.image, sitk.GetArrayFromImage(reference))
    np.testing.assert_array_equal(volume.label, sitk.GetArrayFromImage(sitk.ReadImage(str(frame.label))))
    np.testing.assert_allclose(volume.spacing, reference.GetSpacing()[::-1], rtol=1e-6)
    assert volume.notes == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, ">i2", ">f4"])
def test_the_file_s_own_dtype_is_kept(patient: Path, dtype: str) -> None:
    frame = first_frame(patient)
    data = np.random.default_rng(0).integers(0, 200, nib.load(frame.image).shape).astype(dtype)
    rewrite(frame.image, data)
    image = read_frame(frame).image
    assert image.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(image, data.transpose(2, 1, 0))


def test_a_header_that_contradicts_itself_is_noted(patient: Path) -> None:
    frame = first_frame(patient)
    image = nib.load(frame.image)
    data, zooms = np.asanyarray(image.dataobj), image.header.get_zooms()
    for path, array in ((frame.image, data), (frame.label, np.asanyarray(nib.load(frame.label).dataobj))):
        changed = nib.Nifti1Image(array, None)
        changed.header.set_zooms(zooms)
        changed.set_sform(np.diag([1.0, 1.0, 1.0, 1.0]), code=1)
        changed.header["pixdim"][1:4] = zooms
        nib.save(changed, path)
    volume = read_frame(frame)
    assert volume.spacing == pytest.approx(zooms[::-1])
    assert "mm by pixdim, which is used, and 1 x 1 x 1 mm by the affine" in volume.notes[0]


def test_volumes_slices_and_attributes(patient: Path, tmp_path: Path) -> None:
    index = tmp_path / "h5" / "index.tsv"
    (index.parent / "slices").mkdir(parents=True)
    (index.parent / "slices" / "patient001_frame99_slice_0.h5").touch()
    normalize_patient(patient, index, 99, on_invalid="stop")
    files = files_of(index)
    assert len(files) == 2 * (1 + 3) == len(list(index.parent.glob("*/*.h5")))
    assert is_whole(index)
    sources = read_index_comments(index).sources
    assert list(sources) == [
        f"{patient.parent.name}/{patient.name}/{path.name}" for path in read_patient(patient).sources
    ]
    with h5py.File(index.parent / "volumes/patient001_frame01.h5") as volume:
        assert volume.attrs["image_sha256"] == list(sources.values())[1]
        assert volume["image"].dtype == np.float32 and volume["label"].dtype == np.uint8
        assert volume["image"].shape == volume["label"].shape == (3, 40, 48)  # (Z, H, W) of a 48 x 40 x 4 file
        assert volume["image"].compression == "gzip"
        assert {"patient", "frame", "phase", "group", "height", "weight", "spacing", "affine"} < set(volume.attrs)
        for z in range(3):
            with h5py.File(index.parent / f"slices/patient001_frame01_slice_{z}.h5") as plane:
                np.testing.assert_array_equal(plane["image"][:], volume["image"][z])
                np.testing.assert_array_equal(plane["label"][:], volume["label"][z])
                assert plane.attrs["slice_index"] == z
                assert plane.attrs["image_sha256"] == volume.attrs["image_sha256"]


def test_the_same_input_gives_the_same_bytes(patient: Path, tmp_path: Path) -> None:
    indexes = [tmp_path / run / "index.tsv" for run in "ab"]
    for index in indexes:
        normalize_patient(patient, index, 99, on_invalid="stop")
    assert indexes[0].read_bytes() == indexes[1].read_bytes()  # it holds the sha256 of each file


def test_a_file_that_changed_since_planning_stops_the_job(patient: Path, tmp_path: Path) -> None:
    frame = first_frame(patient)
    announced = {path.name: sha256_file(path) for path in read_patient(patient).sources}
    normalize_patient(patient, tmp_path / "index.tsv", 99, on_invalid="stop", announced=announced)
    rewrite(frame.label, np.asanyarray(nib.load(frame.label).dataobj)[::-1])
    (tmp_path / "index.tsv").unlink()
    with pytest.raises(DatasetError, match=rf"{frame.label.name} changed while the run was at work; run the same"):
        normalize_patient(patient, tmp_path / "index.tsv", 99, on_invalid="stop", announced=announced)
    assert not (tmp_path / "index.tsv").exists()
