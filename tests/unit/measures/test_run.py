from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, read_sealed, seal, unseal
from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.png import read_gray
from acdc_medsam.formats.tensor_values import read_values
from acdc_medsam.formats.tensors import open_embedding
from acdc_medsam.layout import EMBEDDING_SHAPE
from acdc_medsam.measures.embeddings import measure_embedding
from acdc_medsam.measures.images import blur, gray_histogram, histogram, mean_and_deviation, quantization_error
from acdc_medsam.measures.records import BINS, RAW_UNITS, REGIONS, Measures, merge_measures, read_measures
from indexes import files_of, is_whole
from small_dataset import SmallDataset

RANDOM = np.random.default_rng(0)


def test_a_histogram_counts_like_numpy_with_an_open_last_bin() -> None:
    values = RANDOM.uniform(0, 3, (4, 5, 6)).astype(np.float32)
    plain, _ = np.histogram(np.minimum(values, 1.999), bins=2 * BINS, range=(0, 2))
    np.testing.assert_array_equal(histogram(values, 2), plain)
    assert histogram(np.array([1.0]), 1)[-1] == 1


def test_brightness_and_contrast_are_those_of_the_image() -> None:
    pixels = RANDOM.integers(0, 256, (30, 20), dtype=np.uint8)
    counts = gray_histogram(pixels)
    np.testing.assert_array_equal(counts, np.bincount(pixels.ravel(), minlength=256))
    assert mean_and_deviation(counts) == pytest.approx((pixels.mean() / 255, pixels.std() / 255))


def test_quantization_error_is_at_most_half_a_gray_value() -> None:
    image = RANDOM.uniform(0, 1, (50, 50)).astype(np.float32)
    plain = [abs(round(float(value) * 255) / 255 - float(value)) for value in image.ravel()]
    largest, mean = quantization_error(image)
    assert (largest, mean) == pytest.approx((max(plain), np.mean(plain)), abs=1e-7)
    assert largest <= 0.5 / 255 + 1e-7
    assert quantization_error(np.arange(256, dtype=np.float32) / np.float32(255)) == (0, 0)


def test_a_blurred_image_is_blurrier_whatever_its_contrast() -> None:
    image = RANDOM.uniform(0, 1, (60, 60)).astype(np.float32)
    blurred = uniform_filter(image, 5)
    assert blur(image) < blur(blurred) < blur(uniform_filter(blurred, 5))
    assert blur(image) == pytest.approx(blur(image / 4), rel=1e-5)


def test_measures_of_an_embedding_equal_a_plain_computation(tmp_path: Path) -> None:
    embedding = torch.randn(EMBEDDING_SHAPE, generator=torch.Generator().manual_seed(1)) + 0.1
    torch.save(embedding, tmp_path / "embedding.pt")
    path = tmp_path / "embedding.pt"
    measured = measure_embedding(read_values(path.read_bytes(), path, EMBEDDING_SHAPE))
    values = embedding.numpy().astype(np.float64)
    assert measured.mean == pytest.approx(values.mean(), rel=1e-5)
    assert measured.std == pytest.approx(values.std(), rel=1e-5)
    assert measured.norm == pytest.approx(np.linalg.norm(values), rel=1e-5)
    side = 64 // REGIONS
    np.testing.assert_allclose(measured.pooled[5, 1, 3], values[5, side : 2 * side, 3 * side :].mean(), rtol=1e-4)
    vectors = values.reshape(256, -1)
    np.testing.assert_allclose(measured.products, vectors @ vectors.T, rtol=1e-4, atol=0.05)


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_a_damaged_embedding_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "embedding.pt"
    if content is None:
        torch.save(torch.zeros(3), path)
    else:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"embedding\.pt"):
        open_embedding(path, EMBEDDING_SHAPE)


@pytest.fixture
def measured(small: SmallDataset, raw: Path) -> tuple[SmallDataset, Measures]:
    return small, merge_measures([read_measures(written) for written, _ in read_records(small.measure(raw))])


def test_measures_of_a_dataset_equal_a_plain_computation(measured: tuple[SmallDataset, Measures], raw: Path) -> None:
    small, measures = measured
    rows = [row for table in small.tables for row in read_sealed(table)]
    assert measures.slices.tolist() == [row["slice"] for row in rows]
    for index, row in enumerate(rows):
        image = read_gray(small.work / "png" / row["patient"] / "images" / f"{row['slice']}.png")
        assert measures.brightness[index] == pytest.approx(image.mean() / 255)

    volume = str(measures.volumes[1])
    with h5py.File(next(small.work.rglob(f"volumes/{volume}.h5"))) as file:
        clipped = file["image"][:]
        clip = float(file.attrs["clip_level"])
        lowest = float(file.attrs["raw_min"])
    assert measures.depths[1] == len(clipped)
    assert measures.clipped_histograms[1].sum() == clipped.size

    voxels = nib.load(next(raw.rglob(f"{volume}.nii.gz"))).get_fdata()
    counts, _ = np.histogram((voxels - lowest) / (clip - lowest), bins=RAW_UNITS, range=(0, RAW_UNITS))
    assert np.abs(measures.raw_histograms[1].reshape(RAW_UNITS, BINS).sum(1) - counts)[0] <= voxels.size / 1000
    assert measures.raw_histograms[1].sum() == voxels.size

    kept = sum(row["slice"].startswith(volume) for row in rows)
    assert measures.png_histograms[1].sum() == kept * 64 * 64
    assert measures.tokens == len(rows) * 64 * 64
    assert measures.pooled.shape == (len(rows), 256, REGIONS, REGIONS)


def test_only_what_changed_is_measured_again(small: SmallDataset, raw: Path) -> None:
    index = small.measure(raw)
    first = {path.name: path.stat().st_mtime_ns for path in files_of(index)}
    assert is_whole(index) and len(first) == len(small.tables)

    small.measure(raw)
    assert {path.name: path.stat().st_mtime_ns for path in files_of(index)} == first

    table = small.tables[0]
    table.write_text(table.read_text())  # the same content at another time
    content = unseal(small.tables[1].read_bytes())
    assert content is not None
    small.tables[1].write_bytes(seal(b"# changed\n" + content))
    small.measure(raw)
    again = {path.name for path in files_of(index)}
    changed = small.tables[1].parent.name
    assert {name.split("-")[0] for name in again - set(first)} == {changed}
    assert {path.name for path in index.parent.glob("*.npz")} == again, "files that are no longer in use are removed"

    small.measure(raw, code="other code")
    assert not {path.name for path in files_of(index)} & again


def test_a_dataset_without_embeddings_is_measured(small: SmallDataset, raw: Path) -> None:
    records = read_records(small.measure(raw, embeddings=False))
    measures = merge_measures([read_measures(written) for written, _ in records])
    assert len(measures.slices) and not len(measures.pooled) and not measures.tokens


def test_a_lost_file_of_measures_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has gone since it was made; `snakemake repair`"):
        read_measures(Written(tmp_path / "patient001-0.npz", 1, "0" * 64, 0))
