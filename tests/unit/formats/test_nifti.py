"""Scans of three and four dimensions, and other images in their place, compared with nibabel and SimpleITK."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.nifti import bytes_like, count_slices, read_scan
from acdc_medsam.formats.nifti_header import read_frame_time
from acdc_medsam.stages.normalize import to_array
from scans import write_scan


@pytest.mark.parametrize("shape", [(7, 6, 5), (7, 6, 5, 1), (7, 6, 5, 4)])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_an_image_is_written_in_the_place_of_a_scan(tmp_path: Path, kind: Any, endian: str, shape: Any) -> None:
    path = write_scan(tmp_path / "scan.nii.gz", shape, kind, endian)
    scan = read_scan(path)
    voxels = to_array(scan, path)
    theirs = nib.load(path)
    np.testing.assert_array_equal(voxels.T, np.asarray(theirs.dataobj))
    assert count_slices(path) == np.prod(shape[2:]) and voxels.dtype.isnative
    if len(shape) == 4:
        assert read_frame_time(scan.header) == pytest.approx(0.0325)

    labels = np.random.default_rng(0).integers(0, 4, (*(shape[3:] or (1,)), *shape[2::-1]), dtype=np.uint8)
    written = tmp_path / "mask.nii.gz"
    written.write_bytes(bytes_like(labels, scan.header))
    assert written.read_bytes() == bytes_like(labels, read_scan(written).header), "as of a copy of the scan"

    mask = nib.load(written)
    assert type(mask) is kind and mask.shape == shape and mask.get_data_dtype() == np.uint8
    for key in ("pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "quatern_b", "qoffset_x"):
        np.testing.assert_array_equal(mask.header[key], theirs.header[key])
    assert b"Jane" not in mask.header.binaryblock
    np.testing.assert_array_equal(np.asarray(mask.dataobj).T.reshape(labels.shape), labels)

    if kind is nib.Nifti1Image:  # SimpleITK does not read the other
        ours, scans = sitk.ReadImage(str(written)), sitk.ReadImage(str(path))
        for place in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize"):
            assert getattr(ours, place)() == getattr(scans, place)()
        np.testing.assert_array_equal(sitk.GetArrayFromImage(ours).reshape(labels.shape), labels)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(scans).reshape(voxels.shape), voxels)


@pytest.mark.parametrize(
    ("units", "step", "seconds"), [(8, 0.03, 0.03), (24, 30000, 0.03), (0, 30, None), (16, 0, None)]
)
def test_the_time_between_frames_is_in_seconds(units: int, step: float, seconds: float | None) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((2, 2, 2, 2))
    header["xyzt_units"] = 2 + units
    header["pixdim"][4] = step
    assert read_frame_time(header) == (None if seconds is None else pytest.approx(seconds))


def test_a_scan_has_three_or_four_dimensions(tmp_path: Path) -> None:
    for shape in ((7, 6), (7, 6, 5, 1, 3)):
        path = tmp_path / f"{len(shape)}.nii.gz"
        nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)), path)
        for function in (read_scan, count_slices):
            with pytest.raises(VolumeError, match=f"{len(shape)} dimensions; a scan must have 3"):
                function(path)


def test_a_cine_that_is_cut_short_or_claims_too_much_is_refused(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "scan.nii", (7, 6, 5, 4))
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-100])
    with pytest.raises(VolumeError, match="its header claims 7 x 6 x 5 x 4 voxels"):
        read_scan(path)
    path.write_bytes(content + bytes(7 * 6 * 2))
    with pytest.raises(VolumeError, match="holds more slices than the 20"):
        read_scan(path)
    content[48:50] = (30000).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(VolumeError, match="its header claims 7 x 6 x 5 x 30000 voxels"):
        count_slices(path)
