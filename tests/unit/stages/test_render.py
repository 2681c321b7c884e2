from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.transform import resize as skimage_resize

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.formats.files import read_sealed
from acdc_medsam.formats.index import write_index
from acdc_medsam.layout import SLICE_COLUMNS
from acdc_medsam.stages.normalize import normalize_patient
from acdc_medsam.stages.render import pixels_sha256, render_patient, resize_image, resize_label
from indexes import files_of


def test_intensities_are_rounded_not_truncated() -> None:
    image = np.array([[0.0, 1.0], [0.5, 0.999]], np.float32)
    assert resize_image(image, 2).tolist() == [[0, 255], [128, 255]]


def test_images_are_enlarged_bilinearly() -> None:
    image = (np.random.default_rng(0).integers(0, 256, (24, 20)) / 255).astype(np.float32)
    ours = resize_image(image, 96).astype(float)
    other = skimage_resize(image * 255, (96, 96), order=1, mode="edge", anti_aliasing=False)
    assert np.abs(ours - other).max() <= 1  # both bilinear with pixel centers; Pillow rounds to 8 bits


def test_labels_are_enlarged_by_nearest_neighbor() -> None:
    label = np.array([[0, 1], [2, 3]], np.uint8)
    assert resize_label(label, 4).tolist() == np.kron(label, np.ones((2, 2), int)).tolist()


def test_the_digest_of_pixels_depends_on_shape_and_content() -> None:
    pixels = np.zeros((2, 8), np.uint8)
    changed = pixels.copy()
    changed[0, 0] = 1
    assert len({pixels_sha256(one) for one in (pixels, pixels.reshape(4, 4), changed)}) == 3


@pytest.fixture
def volumes(raw: Path, tmp_path: Path) -> Path:
    index = tmp_path / "h5/patient001/index.tsv"
    normalize_patient(raw / "training/patient001", index, 99, on_invalid="stop")
    return index


@pytest.mark.parametrize("keep_empty", [False, True])
def test_a_patient_s_pngs_and_table(volumes: Path, tmp_path: Path, keep_empty: bool) -> None:
    folder = tmp_path / "png/patient001"
    render_patient(volumes, folder / "index.tsv", folder / "slices.tsv", size=128, keep_empty=keep_empty)
    rows = read_sealed(folder / "slices.tsv")
    assert tuple(rows[0]) == SLICE_COLUMNS
    files = files_of(folder / "index.tsv")
    assert len(files) == 2 * len(rows) + 1 == len(list(folder.glob("*/*.png"))) + 1
    assert folder / "slices.tsv" in files
    if keep_empty:
        assert len(rows) == 2 * 3
    else:
        assert 0 < len(rows) < 2 * 4
    for row in rows:
        image, mask = (Image.open(folder / kind / f"{row['slice']}.png") for kind in ("images", "masks"))
        assert (image.mode, image.size, mask.mode, mask.size) == ("L", (128, 128), "L", (128, 128))
        assert row["pixels_sha256"] == pixels_sha256(np.asarray(image))
        values = set(np.unique(np.asarray(mask)).tolist()) - {0}
        assert values == {value for key, value in LABELS.items() if int(row[f"{key.lower()}_pixels"])}
        assert keep_empty or values
        assert (row["height"], row["width"], row["subset"]) == ("40", "48", "training")


def test_files_of_an_earlier_run_are_removed(volumes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "png/patient001"
    for keep_empty in (True, False):
        render_patient(volumes, folder / "index.tsv", folder / "slices.tsv", size=64, keep_empty=keep_empty)
    names = {row["slice"] for row in read_sealed(folder / "slices.tsv")}
    assert {file.stem for file in folder.glob("*/*.png")} == names


def test_a_patient_left_out_has_no_slices_and_keeps_its_reason(raw: Path, tmp_path: Path) -> None:
    volumes = tmp_path / "h5/index.tsv"
    write_index(volumes, [], left_out=["patient001: why"])
    folder = tmp_path / "png"
    render_patient(volumes, folder / "index.tsv", folder / "slices.tsv", size=64, keep_empty=False)
    assert read_sealed(folder / "slices.tsv") == []
    assert "# left out: patient001: why" in (folder / "index.tsv").read_text()
