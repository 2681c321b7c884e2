"""The export medsam2, read as MedSAM2's training reads it."""

import io
import re
import zipfile
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from acdc_medsam.acdc.naming import volume_name
from acdc_medsam.acdc.raw_nifti import read_patient
from acdc_medsam.errors import DatasetError, VolumeError
from acdc_medsam.stages.normalize import normalize_intensities
from acdc_medsam.stages.render import resize_image, round_image
from exported import Exports


def video_names(folder: Path, file_list: Path | None = None) -> list[str]:
    """Names of the volumes, as ``NPZRawDataset.__init__`` in MedSAM2's training/dataset/vos_raw_dataset.py finds them.

    It walks the folder for ``.npz``, and keeps those that the list has, each line being a path below the folder
    without suffix.
    """
    found = [path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.npz")]
    if file_list is not None:
        found = [line.strip() for line in file_list.read_text().splitlines() if line.strip() in found]
    return sorted(found)


def read_video(folder: Path, name: str) -> tuple[NDArray[np.float64], list[dict[int, NDArray[np.bool_]]]]:
    """Frames (Z, 3, H, W) and the objects of each, as ``NPZRawDataset.get_video`` and ``NPZSegmentLoader.load`` do.

    The frames are ``imgs`` divided by 255, in three equal channels. Each value of ``gts`` but 0 is an object.
    """
    with np.load(folder / f"{name}.npz") as archive:
        frames = np.repeat((archive["imgs"] / 255.0)[:, np.newaxis], 3, axis=1)
        masks = archive["gts"]
    return frames, [{int(value): mask == value for value in np.unique(mask) if value != 0} for mask in masks]


def test_medsam2_finds_each_split_by_its_list_and_by_its_folder(exports: Exports) -> None:
    folder = exports.make("medsam2")
    for split in ("train", "val", "test"):
        volumes = {row["slice"].split("_slice_")[0] for row in exports.rows if row["split"] == split}
        assert video_names(folder / split) == sorted(volumes)
        assert video_names(folder, folder / f"{split}.txt") == [f"{split}/{name}" for name in sorted(volumes)]
    assert len(video_names(folder)) == 8


def test_frames_and_objects_are_those_of_the_whole_volume(exports: Exports) -> None:
    folder = exports.make("medsam2")
    for name in video_names(folder):
        with h5py.File(next(exports.small.output.glob(f"ACDC_*_volumes/{Path(name).name}.h5"))) as file:
            image, label = file["image"][:], file["label"][:]
        frames, objects = read_video(folder, name)
        assert frames.shape == (image.shape[0], 3, *image.shape[1:])
        assert np.abs(frames - image[:, np.newaxis]).max() <= 0.5 / 255 + 1e-6
        for plane, found in zip(label, objects, strict=True):
            assert {value: mask.sum() for value, mask in found.items()} == {
                int(value): (plane == value).sum() for value in np.unique(plane) if value
            }


def test_the_gray_values_are_those_of_the_images(exports: Exports) -> None:
    folder = exports.make("medsam2")
    for row in exports.rows:
        with np.load(folder / row["split"] / f"{row['slice'].split('_slice_')[0]}.npz") as archive:
            plane = archive["imgs"][int(row["slice_index"])]
        assert plane.dtype == np.uint8
        path = next(exports.small.output.glob(f"ACDC_*_slices/{row['slice']}.h5"))
        with h5py.File(path) as file:
            image = file["image"][:]
        np.testing.assert_array_equal(resize_image(image, 64), resize_image(np.float32(plane) / np.float32(255), 64))


def test_the_spacing_has_simpleitks_order(exports: Exports) -> None:
    """MedSAM's pre_CT_MR.py writes ``GetSpacing()``, which MedSAM2's scripts give to ``SetSpacing()`` again."""
    folder = exports.make("medsam2")
    for source in exports.volumes:
        if not source.name.endswith("_gt.nii.gz"):
            name = source.name.removesuffix(".nii.gz")
            with np.load(next(folder.glob(f"*/{name}.npz"))) as archive:
                read = sitk.ReadImage(source)
                np.testing.assert_allclose(archive["spacing"], read.GetSpacing(), rtol=1e-6)
                again = sitk.GetImageFromArray(archive["imgs"])
                assert again.GetSize() == read.GetSize()
                again.SetSpacing(archive["spacing"])


def test_an_archive_says_nothing_of_when_it_was_made(exports: Exports) -> None:
    for path in exports.make("medsam2").rglob("*.npz"):
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert [entry.filename for entry in archive.infolist()] == ["imgs.npy", "gts.npy", "spacing.npy"]


def test_volumes_need_a_split_by_patient(exports: Exports) -> None:
    exports.small.publish(unit="slice")
    with pytest.raises(DatasetError, match=r"set 'split: \{unit: patient\}'"):
        exports.make("medsam2")


def test_an_unknown_spacing_is_left_out_and_said(
    exports: Exports, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("acdc_medsam.exports.medsam2.read_geometry", lambda content: (None, None))
    for path in exports.make("medsam2").rglob("*.npz"):
        with np.load(path) as archive:
            assert set(archive) == {"imgs", "gts"}
        assert f"{path.stem}: its spacing is unknown" in caplog.text


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cine_is_a_video_of_each_slice_that_shows_the_heart(exports: Exports) -> None:
    plain = files_of(exports.make("medsam2"))
    cine = exports.add_cine("patient002")
    folder = exports.make("medsam2")
    patient = read_patient(cine.parent)
    numbers = [frame.number - 1 for frame in patient.frames]
    split = next(row["split"] for row in exports.rows if row["patient"] == "patient002")
    shown = sorted({int(row["slice_index"]) for row in exports.rows if row["patient"] == "patient002"})

    names = [f"videos/{split}/patient002_4d_slice_{z}" for z in shown]
    assert video_names(folder, folder / f"{split}_videos.txt") == names
    files = files_of(folder)
    added = {*(f"{name}.npz" for name in names), *(f"{each}_videos.txt" for each in ("train", "val", "test"))}
    assert files.keys() - plain.keys() == added and plain.items() <= files.items()

    # The single frames are of floating point, and the cine is of integers, which alone would be clipped elsewhere.
    voxels = np.asanyarray(nib.load(cine).dataobj).T.astype(np.float32)
    volumes = [np.load(folder / split / f"{volume_name('patient002', number + 1)}.npz") for number in numbers]
    for z, name in zip(shown, names, strict=True):
        with np.load(folder / f"{name}.npz") as video:
            assert video["imgs"].dtype == video["gts"].dtype == np.uint8
            assert video["imgs"].shape == video["gts"].shape == (len(voxels), *voxels.shape[2:])
            assert video["labelled"].tolist() == numbers and float(video["frame_seconds"]) == pytest.approx(0.04)
            np.testing.assert_array_equal(video["spacing"], volumes[0]["spacing"])
            for number, volume in zip(numbers, volumes, strict=True):
                np.testing.assert_array_equal(video["imgs"][number], volume["imgs"][z])
                np.testing.assert_array_equal(video["gts"][number], volume["gts"][z])
            assert not np.delete(video["gts"], numbers, axis=0).any()
            for image, frame in zip(video["imgs"], voxels, strict=True):
                np.testing.assert_array_equal(image, round_image(normalize_intensities(frame).image[z]))

    cine.unlink()
    exports.cines.clear()
    assert files_of(exports.make("medsam2")) == plain


def test_a_slice_without_structures_gives_no_video(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acdc_medsam.exports.medsam2.shows_structure", lambda row: row["slice_index"] == "1")
    exports.add_cine("patient001")
    assert [Path(name).name for name in video_names(exports.make("medsam2") / "videos")] == ["patient001_4d_slice_1"]


@pytest.mark.parametrize("damage", ["voxel", "cut", "frame"])
def test_a_cine_that_is_not_of_the_single_frames_is_refused_by_name(exports: Exports, damage: str) -> None:
    for patient in ("patient001", "patient002"):
        cine = exports.add_cine(patient)
        image = nib.load(cine)
        voxels = np.asanyarray(image.dataobj).copy()
        if damage == "voxel":
            voxels[-1, -1, -1, 0] += 1
        changed = {"voxel": voxels, "cut": voxels[..., :3], "frame": voxels[..., 0]}[damage]
        nib.save(nib.Nifti1Image(changed, image.affine), cine)

    with pytest.raises(VolumeError) as error:
        exports.make("medsam2")
    lines = str(error.value).splitlines()
    for line, patient in zip(lines, ("patient001", "patient002"), strict=True):
        assert re.match(rf"{patient}_4d.nii.gz: its frame \d+ is not {patient}_frame\d+.nii.gz, voxel by voxel", line)
    assert not exports.index("medsam2").exists()
