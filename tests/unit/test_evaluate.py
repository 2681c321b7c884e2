"""Measures worked out by hand or by SciPy, masks that go back to where they came from, and a whole evaluation."""

import gzip
import json
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt

from acdc_medsam.dataset import LABELS
from acdc_medsam.errors import DatasetError
from acdc_medsam.evaluate.cases import choose_cases, spread
from acdc_medsam.evaluate.measures import Mask, compare, ejection_fraction
from acdc_medsam.evaluate.predict import to_labels
from acdc_medsam.evaluate.run import as_table, evaluate_model
from acdc_medsam.evaluate.summary import ejection_fractions, summarize
from acdc_medsam.evaluate.volumes import largest_part, read_truth, to_plane, to_volume, write_nifti
from acdc_medsam.files import index_is_true, read_table, sha256_file
from acdc_medsam.normalize import write_h5
from acdc_medsam.render import resize_label
from acdc_medsam.report.results import results_section
from small_dataset import SmallDataset

SPACING = (10.0, 1.5, 2.0)


def distances(one: Mask, other: Mask) -> np.ndarray[Any, Any]:
    """From each voxel of one mask's surface to the other's, in mm, by SciPy."""
    first, second = (np.pad(mask, 1) for mask in (one, other))
    edges = [mask & ~binary_erosion(mask) for mask in (first, second)]
    away: np.ndarray[Any, Any] = distance_transform_edt(~edges[1], SPACING)[edges[0]]
    return away


def test_measures_against_scipy_and_by_hand() -> None:
    random = np.random.default_rng(1)
    truth = np.zeros((5, 24, 20), bool)
    truth[1:4, 5:18, 4:15] = True
    predicted = np.roll(truth, (1, 2), (1, 2)) & (random.random(truth.shape) > 0.05)
    found = compare(predicted, truth, SPACING)
    there, back = distances(predicted, truth), distances(truth, predicted)
    assert found.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
    assert found.assd_mm == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-5)
    assert found.dice == pytest.approx(2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))
    assert found.true_volume_ml == pytest.approx(3 * 13 * 11 * 30 / 1000)
    same = compare(truth, truth, SPACING)
    assert (same.dice, same.hd95_mm, same.assd_mm) == (1, 0, 0)
    nothing = compare(np.zeros_like(truth), truth, SPACING)
    assert (nothing.dice, nothing.hd95_mm, nothing.assd_mm, nothing.volume_ml) == (0, None, None, 0)
    assert ejection_fraction(120, 48) == 60 and ejection_fraction(0, 0) is None


def record(patient: str, phase: str, structure: str, **values: float | None) -> dict[str, Any]:
    known = {"dice": 1.0, "hd95_mm": 2.0, "assd_mm": 1.0, "volume_error_ml": 0.0, "slice_dice": 1.0}
    volumes = {"volume_ml": 100.0, "true_volume_ml": 100.0}
    place = {"volume": f"{patient}_{phase}", "patient": patient, "phase": phase, "structure": structure}
    return {**place, **known, **volumes, **values}


def test_means_leave_out_what_was_not_found_and_count_it() -> None:
    records = [
        record("patient001", "ED", "LV", dice=0.8, volume_ml=100.0, true_volume_ml=120.0),
        record("patient001", "ES", "LV", dice=0.6, hd95_mm=None, volume_ml=50.0, true_volume_ml=48.0),
        record("patient002", "ED", "LV", dice=0.4, hd95_mm=6.0),
    ]
    means = summarize(records)["LV"]
    assert means["all"]["dice"] == pytest.approx(0.6) and means["ED"]["dice"] == pytest.approx(0.6)
    assert (means["all"]["hd95_mm"], means["all"]["missed"], means["ES"]["hd95_mm"]) == (4, 1, None)
    errors = ejection_fractions(records)["LV"]
    assert list(errors["patients"]) == ["patient001"] and errors["mean_error"] == pytest.approx(-10)
    assert summarize(records)["RV"]["ED"]["dice"] is None


def test_cases_are_the_ends_and_the_middle() -> None:
    scores = {"patient001": 0.9, "patient002": 0.5, "patient003": 0.7}
    chosen = choose_cases([record(name, "ED", key, dice=score) for name, score in scores.items() for key in LABELS])
    assert [volume for volume, _ in chosen.values()] == ["patient001_ED", "patient003_ED", "patient002_ED"]
    assert spread(list("abcdefg"), 3) == ["a", "d", "g"] and spread(["a"], 5) == ["a"]


def test_a_pixel_is_of_the_structure_with_the_highest_logit() -> None:
    logits = torch.tensor([[-1.0, 1, 1], [-2, 2, -1], [-3, 1.5, 0.5]])[:, None]
    assert to_labels(logits).tolist() == [[0, 2, 1]]


def test_the_largest_part_of_each_structure_is_kept() -> None:
    label = np.zeros((3, 8, 8), np.uint8)
    label[0, 1:4, 1:4] = label[1, 4, 4] = 3  # hang together by a corner
    label[2, 7, 0] = 3
    label[:, 0, 6:] = 1
    kept = label.copy()
    kept[2, 7, 0] = 0
    assert (largest_part(label) == kept).all()
    assert not largest_part(np.zeros_like(label)).any()


@pytest.mark.parametrize("shape", [(216, 256), (428, 512), (48, 40), (1024, 999)])
def test_nearest_neighbour_there_and_back_loses_nothing(shape: tuple[int, int]) -> None:
    label = np.random.default_rng(0).integers(0, 4, shape, np.uint8)
    assert (to_plane(resize_label(label, 1024), shape) == label).all()


def test_a_plane_wider_than_the_masks_loses_some() -> None:
    label = np.random.default_rng(0).integers(0, 4, (64, 1300), np.uint8)
    assert 0.7 < (to_plane(resize_label(label, 1024), (64, 1300)) == label).mean() < 1


def test_the_truth_goes_back_to_where_it_came_from(made: Path, raw: Path, tmp_path: Path) -> None:
    """Through the published masks, to NIfTI files that equal the raw labels voxel for voxel, in the same place."""
    for source in sorted(raw.glob("*/patient*/*_gt.nii.gz")):
        name, patient = source.name.removesuffix("_gt.nii.gz"), source.parent.name
        truth = read_truth(made / "work/h5" / patient / "volumes" / f"{name}.h5")
        kept = [number for number, plane in enumerate(truth.label) if plane.any()]
        masks = {number: resize_label(truth.label[number], 1024) for number in kept}
        write_nifti(to_volume(masks, truth.label.shape), truth, tmp_path / f"{name}.nii.gz")
        ours, theirs = nib.load(tmp_path / f"{name}.nii.gz"), nib.load(source)
        assert (np.asarray(ours.dataobj) == np.asarray(theirs.dataobj)).all()
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-6)
        np.testing.assert_allclose(ours.header.get_zooms(), theirs.header.get_zooms(), atol=1e-6)
        assert nib.aff2axcodes(ours.affine) == nib.aff2axcodes(theirs.affine)
        write_nifti(to_volume(masks, truth.label.shape), truth, tmp_path / "again.nii.gz")
        assert (tmp_path / "again.nii.gz").read_bytes() == (tmp_path / f"{name}.nii.gz").read_bytes()
        assert gzip.decompress((tmp_path / "again.nii.gz").read_bytes())


def test_volumes_of_another_dataset_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="slice 7 of a volume of 4"):
        to_volume({7: np.zeros((8, 8), np.uint8)}, (4, 8, 8))
    with h5py.File(tmp_path / "strange.h5", "w") as file:
        file["image"] = [1]
    write_h5(tmp_path / "bare.h5", np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 4), np.uint8), {}, (1, 4, 4))
    for name, problem in {"strange": "holds no 'image'", "gone": "not a readable H5", "bare": "'patient'"}.items():
        with pytest.raises(DatasetError, match=f"{name}.h5: .*{problem}"):
            read_truth(tmp_path / f"{name}.h5")


@pytest.fixture(scope="module")
def evaluated(trained: Path, checkpoint: Path) -> tuple[Path, dict[str, Any]]:
    """What is made of the small dataset's one validation patient."""
    out = trained / "evaluation"
    model, index = trained / "training/model.pth", out / "evaluated.tsv"
    return out, evaluate_model(trained / "data/ACDC", trained, checkpoint, model, "val", out, index, threads=2)


def test_an_evaluation_has_all_measures_of_all_ways(evaluated: tuple[Path, dict[str, Any]], trained: Path) -> None:
    out, metrics = evaluated
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert len(as_table(metrics).splitlines()) == 10
    rows = [row for row in read_table(trained / "data/ACDC/manifest.tsv") if row["split"] == "val"]
    assert metrics["patients"] == sorted({row["patient"] for row in rows}) and metrics["slices"] == len(rows) == 2
    for way in ("zero_shot_boxes", "fine_tuned_boxes", "fine_tuned"):
        found = metrics["ways"][way]
        for structure in LABELS:
            assert [found["structures"][structure][phase]["volumes"] for phase in ("all", "ED", "ES")] == [2, 1, 1]
            assert 0 <= found["mean_slice_dice"][structure] <= 1
        assert set(found["ejection_fraction"]) == {"LV", "RV"}
    assert index_is_true(out / "evaluated.tsv")
    listed = {row["file"] for row in read_table(out / "evaluated.tsv")}
    assert listed == {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()} - {"evaluated.tsv"}
    for case in ("best", "median", "worst"):
        assert (out / "cases" / f"{case}.png").stat().st_size > 1000


def test_predictions_are_where_the_scan_is(evaluated: tuple[Path, dict[str, Any]], raw: Path) -> None:
    files = list(evaluated[0].glob("predictions/*/*.nii.gz"))
    assert len(files) == 6
    for file in files:
        source, image = nib.load(next(raw.rglob(file.name))), nib.load(file)
        assert image.shape == source.shape and image.get_data_dtype() == np.uint8
        np.testing.assert_allclose(image.affine, source.affine, atol=1e-6)


def test_the_report_shows_results_of_this_dataset_alone(
    evaluated: tuple[Path, dict[str, Any]], trained: Path, tmp_path: Path
) -> None:
    manifest, metrics = trained / "data/ACDC/manifest.tsv", evaluated[0] / "metrics.json"
    results = results_section(metrics, manifest)
    assert results is not None and [len(table.rows) for table in results.tables] == [18, 6]
    assert [title.split(":")[0] for title, _, _ in results.cases] == ["Best", "Median", "Worst"]
    assert results_section(None, manifest) is results_section(tmp_path / "none.json", manifest) is None
    other = tmp_path / "manifest.tsv"
    other.write_text("another dataset")
    assert results_section(metrics, other) is None
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(DatasetError, match="run `snakemake evaluate`"):
        results_section(tmp_path / "metrics.json", manifest)


def test_a_page_has_the_section_if_there_are_results(
    evaluated: tuple[Path, dict[str, Any]], small: SmallDataset, raw: Path
) -> None:
    content = json.loads((evaluated[0] / "metrics.json").read_text())
    content["manifest_sha256"] = sha256_file(small.data / "manifest.tsv")
    metrics = small.output / "metrics.json"
    metrics.write_text(json.dumps(content))
    (small.output / "cases").symlink_to(evaluated[0] / "cases")
    page = small.report(raw, metrics=metrics)
    assert 'id="results"' in page and "fine-tuned, without prompts" in page and 'class="case"' in page
