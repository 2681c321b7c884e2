"""H5 files of other repositories become the workflow's own, or are refused with a reason."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.acdc.raw_h5 import H5Patient
from acdc_medsam.errors import DatasetError, VolumeError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.formats.index import read_index_comments
from acdc_medsam.layout import GROUP_ASSUMED, PHASE_INFERRED
from acdc_medsam.stages.adopt import adopt_patient, infer_phases
from acdc_medsam.stages.normalize import normalize_patient
from published_h5 import change, read_plain, write_plain

FOLDER = "ACDC_training_volumes"
SLICES = "ACDC_training_slices"


@pytest.fixture(scope="module")
def from_nifti(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("normalized") / "patient001/index.tsv"
    normalize_patient(raw / "training/patient001", index, percentile=99, on_invalid="stop")
    return index.parent


def adopt(folder: Path, patient: str = "patient001", on_invalid: str = "stop", **options: Any) -> Path:
    """Adopt a patient of a folder, and return the folder of its H5 files."""
    (found,) = [one for one in find_cohort(folder).patients if one.name == patient]
    assert isinstance(found, H5Patient)
    index = folder.parent / "adopted" / patient / "index.tsv"
    adopt_patient(found, index, folder, on_invalid, **options)
    return index.parent


def attributes_of(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return dict(file.attrs)


def volume(folder: Path) -> Path:
    """The volume of the first frame of patient001."""
    return sorted((folder / FOLDER).glob("patient001_*"))[0]


def arrays_equal(one: Path, other: Path) -> bool:
    names = [path.relative_to(one) for path in sorted(one.rglob("*.h5"))]
    assert names == [path.relative_to(other) for path in sorted(other.rglob("*.h5"))] and len(names) == 8
    pairs = [(read_plain(one / name), read_plain(other / name)) for name in names]
    return all(
        ours.keys() == theirs.keys() == {"image", "label"}
        and all(ours[key].dtype == theirs[key].dtype and np.array_equal(ours[key], theirs[key]) for key in ours)
        for ours, theirs in pairs
    )


@pytest.mark.parametrize("left", ["volumes", "slices", "both"])
def test_the_arrays_equal_those_from_nifti_files(h5_folder: Path, from_nifti: Path, left: str) -> None:
    for kind in {"volumes": ["slices"], "slices": ["volumes"], "both": []}[left]:
        shutil.rmtree(h5_folder / f"ACDC_training_{kind}")
    adopted = adopt(h5_folder)
    assert arrays_equal(adopted, from_nifti)
    assert len(read_index_comments(adopted / "index.tsv").sources) == {"volumes": 2, "slices": 6, "both": 8}[left]


@pytest.mark.parametrize(("image", "label"), [("float64", "int64"), ("float32", "float32"), (">f4", ">i2")])
def test_other_types_of_numbers_are_converted(h5_folder: Path, from_nifti: Path, image: str, label: str) -> None:
    def convert(arrays: dict[str, Any]) -> dict[str, Any]:
        return {"image": arrays["image"].astype(image), "label": arrays["label"].astype(label)}

    shutil.rmtree(h5_folder / SLICES)
    for path in sorted((h5_folder / FOLDER).glob("patient001_*")):
        change(path, convert)
    assert arrays_equal(adopt(h5_folder), from_nifti)


def test_phases_and_groups_are_inferred_and_noted(h5_folder: Path, from_nifti: Path) -> None:
    adopted = adopt(h5_folder)
    for path in sorted(adopted.rglob("*.h5")):
        ours = attributes_of(path)
        theirs = attributes_of(from_nifti / path.relative_to(adopted))
        assert (ours["phase"], ours["frame"], ours["group"]) == (theirs["phase"], theirs["frame"], "DCM")
        assert ours["source"] == "h5" and ours["notes"] == f"{PHASE_INFERRED}; {GROUP_ASSUMED}"
        assert np.isnan(ours["height"]) and "spacing" not in ours and "affine" not in ours
    testing = adopt(h5_folder, "patient004")
    found = attributes_of(next(testing.rglob("*.h5")))
    assert (found["group"], found["notes"]) == ("unknown", PHASE_INFERRED), "testing patients are in no order"


def test_stated_facts_are_used(h5_folder: Path) -> None:
    first = int(volume(h5_folder).stem[-2:])
    cells = f"patient001\tHCM\t{first}\t10 1.5 1.25\t170"
    (h5_folder / "patients.tsv").write_text(f"patient\tgroup\tes\tspacing\theight\n{cells}\n")
    for path in (adopt(h5_folder) / "volumes").iterdir():
        found = attributes_of(path)
        assert (found["group"], found["height"], found["notes"]) == ("HCM", 170, "")
        assert found["phase"] == ("ES" if found["frame"] == first else "ED"), "against the sizes of the ventricles"
        np.testing.assert_array_equal(found["spacing"], (10, 1.5, 1.25))


def test_the_workflows_own_files_keep_their_facts(h5_folder: Path, from_nifti: Path) -> None:
    for kind in ("volumes", "slices"):
        shutil.rmtree(h5_folder / f"ACDC_training_{kind}")
        shutil.copytree(from_nifti / kind, h5_folder / f"ACDC_training_{kind}")
    adopted = adopt(h5_folder)
    for path in sorted(adopted.rglob("*.h5")):
        ours = attributes_of(path)
        theirs = attributes_of(from_nifti / path.relative_to(adopted))
        for name in ("phase", "group", "height", "weight", "spacing", "affine"):
            np.testing.assert_array_equal(ours[name], theirs[name])
        assert ours["notes"] == ""


def test_what_an_earlier_run_inferred_is_inferred_again(h5_folder: Path) -> None:
    adopted = adopt(h5_folder)
    for kind in ("volumes", "slices"):
        shutil.rmtree(h5_folder / f"ACDC_training_{kind}")
        shutil.copytree(adopted / kind, h5_folder / f"ACDC_training_{kind}")
    again = adopt(h5_folder)
    assert attributes_of(next(again.rglob("*.h5")))["notes"] == f"{PHASE_INFERRED}; {GROUP_ASSUMED}"


def add_scribble(arrays: dict[str, Any]) -> dict[str, Any]:
    return {**arrays, "scribble": (arrays["label"] + 1).astype("int16")}


@pytest.mark.parametrize("kind", [FOLDER, SLICES])
def test_further_datasets_are_carried_along(h5_folder: Path, kind: str) -> None:
    for path in (h5_folder / kind).glob("patient001_*"):
        change(path, add_scribble)
    if kind == SLICES:
        shutil.rmtree(h5_folder / FOLDER)
    for path in adopt(h5_folder).rglob("*.h5"):
        found = read_plain(path)
        np.testing.assert_array_equal(found["scribble"], found["label"] + 1)
        assert found["scribble"].dtype == np.int16 and attributes_of(path)["notes"].endswith("; also holds scribble")


def test_what_cannot_be_carried_along_is_noted(h5_folder: Path) -> None:
    change(volume(h5_folder), lambda arrays: {**arrays, "classes": np.arange(4), "name\n": b"text"})
    change(sorted((h5_folder / SLICES).glob("patient001_*"))[0], add_scribble)
    (note,) = read_index_comments(adopt(h5_folder) / "index.tsv").notes
    assert note == f"patient001: {volume(h5_folder).name}: not carried along: 'classes', 'name\\n', 'scribble'"


def test_rounding_is_clipped(h5_folder: Path) -> None:
    shutil.rmtree(h5_folder / SLICES)
    change(volume(h5_folder), lambda arrays: {**arrays, "image": arrays["image"] * 1.0005 - 0.0001})
    image = read_plain(adopt(h5_folder) / "volumes" / volume(h5_folder).name)["image"]
    assert image.min() == 0 and image.max() == 1


def set_voxel(value: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def edit(arrays: dict[str, Any]) -> dict[str, Any]:
        image = arrays["image"].copy()
        image[0, 0, 0] = value
        return {**arrays, "image": image}

    return edit


def set_label(value: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def edit(arrays: dict[str, Any]) -> dict[str, Any]:
        label = arrays["label"].astype(float)
        label[0, 0, 0] = value
        return {**arrays, "label": label}

    return edit


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def to_integers(arrays: dict[str, Any]) -> dict[str, Any]:
    return {**arrays, "image": (255 * arrays["image"]).astype("uint8")}


def crop_label(arrays: dict[str, Any]) -> dict[str, Any]:
    return {**arrays, "label": arrays["label"][:, 1:]}


def first_plane(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: array[0] for name, array in arrays.items()}


def to_constant(arrays: dict[str, Any]) -> dict[str, Any]:
    return {**arrays, "image": np.full_like(arrays["image"], 0.5)}


def to_complex(arrays: dict[str, Any]) -> dict[str, Any]:
    return {**arrays, "label": arrays["label"].astype("complex64")}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_voxel(np.nan), "the image has NaN or infinite values"),
        (set_voxel(np.inf), "the image has NaN or infinite values"),
        (set_voxel(1.5), r"intensities from 0 to 1\.5, but a normalized image lies in \[0, 1\]"),
        (set_voxel(-0.01), r"intensities from -0\.01 to 1"),
        (to_integers, "image is of type uint8, not floating-point"),
        (to_complex, "label is of type complex64, not integer or floating-point"),
        (to_constant, "every voxel of the image is 0.5"),
        (set_label(4), "the label has the values 4, not only 0 background, 1 RV, 2 MYO, 3 LV"),
        (set_label(0.5), r"the label has the values 0\.5"),
        (set_label(np.nan), "the label has the values nan"),
        (crop_label, r"label \(3, 39, 48\) and image \(3, 40, 48\) have different shapes"),
        (first_plane, r"the image has the shape \(40, 48\), not one size for each of slice, height, width"),
        (without("image"), "holds no dataset 'image' of its own"),
        (without("label"), "holds no dataset 'label' of its own"),
    ],
)
def test_an_unusable_volume_is_named(
    h5_folder: Path, edit: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    shutil.rmtree(h5_folder / SLICES)
    change(volume(h5_folder), edit)
    with pytest.raises(VolumeError, match=f"patient001: {volume(h5_folder).name}: {message}.*on_invalid: exclude"):
        adopt(h5_folder)


@pytest.mark.parametrize("size", [0, 100, 2000])
def test_a_damaged_file_is_named(h5_folder: Path, size: int) -> None:
    shutil.rmtree(h5_folder / SLICES)
    os.truncate(volume(h5_folder), size)
    with pytest.raises(VolumeError, match=f"patient001: {volume(h5_folder).name}: not a readable H5 file"):
        adopt(h5_folder)


def change_image(arrays: dict[str, Any]) -> dict[str, Any]:
    return {**arrays, "image": np.roll(arrays["image"], 1)}


def change_label(arrays: dict[str, Any]) -> dict[str, Any]:
    return {**arrays, "label": np.roll(arrays["label"], 1)}


def crop(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: array[:-1] for name, array in arrays.items()}


@pytest.mark.parametrize("edit", [change_image, change_label, crop])
def test_a_slice_must_equal_its_plane(h5_folder: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    change(h5_folder / SLICES / f"{volume(h5_folder).stem}_slice_1.h5", edit)
    with pytest.raises(VolumeError, match=rf"_slice_1\.h5: differs from plane 1 of {volume(h5_folder).name}"):
        adopt(h5_folder)


def test_a_slice_beyond_the_volume_is_refused(h5_folder: Path) -> None:
    last = h5_folder / SLICES / f"{volume(h5_folder).stem}_slice_2.h5"
    shutil.copy(last, last.with_name(last.name.replace("_2.h5", "_3.h5")))
    with pytest.raises(VolumeError, match=rf"_slice_3\.h5: {volume(h5_folder).name} has only 3 slices"):
        adopt(h5_folder)


def test_slices_of_one_volume_have_one_shape(h5_folder: Path) -> None:
    shutil.rmtree(h5_folder / FOLDER)
    change(sorted((h5_folder / SLICES).glob("patient001_*"))[1], crop)
    with pytest.raises(VolumeError, match=r"_slice_1\.h5: has the shape \(39, 48\), and .*_slice_0\.h5 has \(40, 48\)"):
        adopt(h5_folder)


def test_equal_ventricles_have_no_phase(h5_folder: Path) -> None:
    label = np.full((2, 3, 3), 3, np.uint8)
    assert infer_phases({4: label, 11: label[:1]}) == {4: "ED", 11: "ES"}
    with pytest.raises(VolumeError, match=r"frames 4 and 11: the left ventricle has 18 voxels .*'ed' of patients"):
        infer_phases({4: label, 11: label})


def test_an_unusable_attribute_is_named(h5_folder: Path) -> None:
    with h5py.File(volume(h5_folder), "r+") as file:
        file.attrs["spacing"] = np.array([1.0, -1.0, 1.0])
    with pytest.raises(VolumeError, match="patient001: attributes of its H5 files: spacing is"):
        adopt(h5_folder)


def test_an_unusable_patient_can_be_left_out(h5_folder: Path) -> None:
    change(volume(h5_folder), set_voxel(np.nan))
    adopted = adopt(h5_folder, on_invalid="exclude")
    comments = read_index_comments(adopted / "index.tsv")
    assert len(comments.left_out) == 1 and "NaN" in comments.left_out[0]
    assert not list(adopted.rglob("*.h5"))


def test_a_file_that_changes_during_the_run_is_noticed(h5_folder: Path) -> None:
    announced = {path.name: sha256_file(path) for path in h5_folder.rglob("patient001_*.h5")}
    adopt(h5_folder, announced=announced)
    change(volume(h5_folder), add_scribble)
    with pytest.raises(DatasetError, match="changed while the run was at work"):
        adopt(h5_folder, announced=announced)


def test_links_to_other_files_are_not_followed(h5_folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    arrays = read_plain(volume(h5_folder))
    write_plain(secret, **arrays)
    with h5py.File(volume(h5_folder), "w") as file:
        file["image"] = h5py.ExternalLink(str(secret), "image")
        file["label"] = arrays["label"]
    with pytest.raises(VolumeError, match="holds no dataset 'image' of its own"):
        adopt(h5_folder)


def test_a_claim_of_more_than_a_file_holds_takes_no_memory(h5_folder: Path) -> None:
    with h5py.File(volume(h5_folder), "w") as file:
        for name, kind in (("image", "f4"), ("label", "u1")):
            file.create_dataset(name, (1000, 1000, 1000), kind, chunks=(1, 1000, 1000))
    with pytest.raises(VolumeError, match=r"'image' claims to be \(1000, 1000, 1000\), more than such a file holds"):
        adopt(h5_folder)
