"""Metrics checked by hand or by SciPy, masks restored to the original resolution, and a whole evaluation."""

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import volume_name
from acdc_medsam.cli import main
from acdc_medsam.data.assignment import Assignment
from acdc_medsam.data.slices import ItemOptions, SliceDataset
from acdc_medsam.encoders import Encoder, load_model, make_encoder
from acdc_medsam.encoders.decoder import PROMPT_SIZE, to_labels
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import DatasetError
from acdc_medsam.evaluate import run
from acdc_medsam.evaluate.cases import choose_cases, pick_evenly
from acdc_medsam.evaluate.metrics import UNSCALED, compute_metrics
from acdc_medsam.evaluate.predict import Predict
from acdc_medsam.evaluate.run import evaluate_model, splits_to_measure
from acdc_medsam.evaluate.seen import describe_seen, find_seen
from acdc_medsam.evaluate.slices import VolumeSlices, find_volume, find_volumes, require_whole_patients
from acdc_medsam.evaluate.summary import average_scores, ejection_fractions, format_table
from acdc_medsam.evaluate.volumes import (
    Mask,
    keep_largest_components,
    largest_component,
    read_truth,
    stack_slices,
    to_original_size,
    write_nifti,
)
from acdc_medsam.formats.files import read_sealed, read_table, sha256_file
from acdc_medsam.formats.h5 import read_h5, write_h5
from acdc_medsam.formats.png import read_gray
from acdc_medsam.layout import WAYS
from acdc_medsam.measures.function import ejection_fraction
from acdc_medsam.report.results import results_section
from acdc_medsam.stages.render import resize_label
from indexes import is_whole
from small_dataset import SmallDataset
from trained import set_encoder

SPACING = (10.0, 1.5, 2.0)


def surface_distances(one: Mask, other: Mask) -> np.ndarray[Any, Any]:
    """Distances in mm from each voxel of one mask's surface to the other's, by SciPy."""
    padded = [np.pad(mask, 1) for mask in (one, other)]
    surfaces = [mask & ~binary_erosion(mask) for mask in padded]
    distances: np.ndarray[Any, Any] = distance_transform_edt(~surfaces[1], SPACING)[surfaces[0]]
    return distances


def test_metrics_against_scipy_and_by_hand() -> None:
    random = np.random.default_rng(1)
    truth = np.zeros((5, 24, 20), bool)
    truth[1:4, 5:18, 4:15] = True
    predicted = np.roll(truth, (1, 2), (1, 2)) & (random.random(truth.shape) > 0.05)

    metrics = compute_metrics(predicted, truth, SPACING)
    forth = surface_distances(predicted, truth)
    back = surface_distances(truth, predicted)
    assert metrics.hd95 == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)), rel=1e-5)
    assert metrics.assd == pytest.approx(np.concatenate([forth, back]).mean(), rel=1e-5)
    assert metrics.dice == pytest.approx(2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))
    assert metrics.true_volume == pytest.approx(3 * 13 * 11 * 30 / 1000)

    same = compute_metrics(truth, truth, SPACING)
    assert (same.dice, same.hd95, same.assd) == (1, 0, 0)
    nothing = compute_metrics(np.zeros_like(truth), truth, SPACING)
    assert (nothing.dice, nothing.hd95, nothing.assd, nothing.volume) == (0, None, None, 0)
    unscaled = compute_metrics(predicted, truth, None, UNSCALED)
    assert unscaled.true_volume == 3 * 13 * 11 and unscaled.dice == metrics.dice
    assert unscaled.hd95 == pytest.approx(compute_metrics(predicted, truth, (1, 1, 1)).hd95)
    assert ejection_fraction(120, 48) == 60 and ejection_fraction(0, 0) is None


def make_score(patient: str, phase: str, structure: str, **values: float | None) -> dict[str, Any]:
    names = {"volume": f"{patient}_{phase}", "patient": patient, "phase": phase, "structure": structure}
    defaults = {"dice": 1.0, "hd95_mm": 2.0, "assd_mm": 1.0, "volume_error_ml": 0.0, "slice_dice": 1.0}
    volumes = {"volume_ml": 100.0, "true_volume_ml": 100.0}
    return {**names, **defaults, **volumes, **values}


def test_means_leave_out_missed_structures_and_count_them() -> None:
    scores = [
        make_score("patient001", "ED", "LV", dice=0.8, volume_ml=100.0, true_volume_ml=120.0),
        make_score("patient001", "ES", "LV", dice=0.6, hd95_mm=None, volume_ml=50.0, true_volume_ml=48.0),
        make_score("patient002", "ED", "LV", dice=0.4, hd95_mm=6.0),
    ]
    means = average_scores(scores)["LV"]
    assert means["all"]["dice"] == pytest.approx(0.6) and means["ED"]["dice"] == pytest.approx(0.6)
    assert (means["all"]["hd95_mm"], means["all"]["missed"], means["ES"]["hd95_mm"]) == (4, 1, None)
    errors = ejection_fractions(scores)["LV"]
    assert list(errors["patients"]) == ["patient001"] and errors["mean_error"] == pytest.approx(-10)
    assert average_scores(scores)["RV"]["ED"]["dice"] is None


def test_without_a_spacing_the_summary_is_in_pixels_and_voxels() -> None:
    score = make_score("patient001", "ED", "LV")
    score = {key.replace("_mm", "_pixels").replace("_ml", "_voxels"): value for key, value in score.items()}
    means = average_scores([score], UNSCALED)["LV"]["ED"]
    assert means["hd95_pixels"] == 2 and means["volume_voxels"] == 100 and not any("_mm" in key for key in means)


def test_cases_are_the_ends_and_the_middle() -> None:
    dice = {"patient001": 0.9, "patient002": 0.5, "patient003": 0.7}
    chosen = choose_cases([make_score(name, "ED", key, dice=value) for name, value in dice.items() for key in LABELS])
    assert [volume for volume, _ in chosen.values()] == ["patient001_ED", "patient003_ED", "patient002_ED"]
    assert pick_evenly(list("abcdefg"), 3) == ["a", "d", "g"] and pick_evenly(["a"], 5) == ["a"]


def test_a_pixel_is_of_the_structure_with_the_highest_logit() -> None:
    logits = torch.tensor([[-1.0, 1, 1], [-2, 2, -1], [-3, 1.5, 0.5]])[:, None]
    assert to_labels(logits).tolist() == [[0, 2, 1]]
    assert to_labels(torch.stack([logits, -logits])).tolist() == [[[0, 2, 1]], [[3, 0, 2]]]


def test_the_largest_component_of_each_structure_is_kept() -> None:
    label = np.zeros((3, 8, 8), np.uint8)
    label[0, 1:4, 1:4] = label[1, 4, 4] = 3  # connected by a corner
    label[2, 7, 0] = 3
    label[:, 0, 6:] = 1
    kept = label.copy()
    kept[2, 7, 0] = 0
    assert (keep_largest_components(label) == kept).all()
    assert not keep_largest_components(np.zeros_like(label)).any()


def test_the_first_of_equally_large_components_is_kept() -> None:
    mask = np.zeros((3, 8, 8), bool)
    mask[0, 1, 1:3] = mask[0, 5, 1:3] = mask[2, 5, 1:3] = True
    assert np.argwhere(largest_component(mask)).tolist() == [[0, 1, 1], [0, 1, 2]]


@pytest.mark.parametrize("shape", [(216, 256), (428, 512), (48, 40), (1024, 999)])
def test_nearest_neighbor_there_and_back_loses_nothing(shape: tuple[int, int]) -> None:
    label = np.random.default_rng(0).integers(0, 4, shape, np.uint8)
    assert (to_original_size(resize_label(label, 1024), shape) == label).all()


def test_a_slice_wider_than_the_masks_loses_some() -> None:
    label = np.random.default_rng(0).integers(0, 4, (64, 1300), np.uint8)
    assert 0.7 < (to_original_size(resize_label(label, 1024), (64, 1300)) == label).mean() < 1


def test_the_truth_goes_back_to_where_it_came_from(made: Path, raw: Path, tmp_path: Path) -> None:
    """Through the published masks to NIfTI files that equal the raw labels in every voxel and in geometry."""
    for source in sorted(raw.glob("*/patient*/*_gt.nii.gz")):
        name = source.name.removesuffix("_gt.nii.gz")
        patient = source.parent.name
        truth = read_truth(made / "work/h5" / patient / "volumes" / f"{name}.h5")
        masks = {index: resize_label(label, 1024) for index, label in enumerate(truth.label) if label.any()}
        write_nifti(stack_slices(masks, truth.label.shape), truth, tmp_path / f"{name}.nii.gz")
        ours = nib.load(tmp_path / f"{name}.nii.gz")
        theirs = nib.load(source)
        assert (np.asarray(ours.dataobj) == np.asarray(theirs.dataobj)).all()
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-6)
        np.testing.assert_allclose(ours.header.get_zooms(), theirs.header.get_zooms(), atol=1e-6)
        assert nib.aff2axcodes(ours.affine) == nib.aff2axcodes(theirs.affine)
        write_nifti(stack_slices(masks, truth.label.shape), truth, tmp_path / "again.nii.gz")
        assert (tmp_path / "again.nii.gz").read_bytes() == (tmp_path / f"{name}.nii.gz").read_bytes()
        assert gzip.decompress((tmp_path / "again.nii.gz").read_bytes())


def test_a_volume_without_geometry_becomes_a_nifti_file_that_says_so(tmp_path: Path) -> None:
    label = np.ones((2, 4, 3), np.uint8)
    attributes = {"patient": "patient001", "phase": "ED"}
    write_h5(tmp_path / "volume.h5", label.astype(np.float32), label, attributes, chunks=label.shape)
    truth = read_truth(tmp_path / "volume.h5")
    assert truth.spacing is None and truth.affine is None
    write_nifti(label, truth, tmp_path / "label.nii.gz")
    image = nib.load(tmp_path / "label.nii.gz")
    assert image.shape == (3, 4, 2) and image.header.get_zooms() == (1, 1, 1)
    assert image.header.get_xyzt_units()[0] == "unknown" and nib.aff2axcodes(image.affine) == ("L", "P", "S")


def test_volumes_of_another_dataset_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="slice 7 of a volume with 4 slices"):
        stack_slices({7: np.zeros((8, 8), np.uint8)}, (4, 8, 8))
    with h5py.File(tmp_path / "strange.h5", "w") as file:
        file["image"] = [1]
    write_h5(tmp_path / "bare.h5", np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 4), np.uint8), {}, (1, 4, 4))
    for name, problem in {"strange": "holds no 'image'", "gone": "not a readable H5", "bare": "'patient'"}.items():
        with pytest.raises(DatasetError, match=f"{name}.h5: .*{problem}"):
            read_truth(tmp_path / f"{name}.h5")


SPLITS = ("val", "test")


def encode_nothing(encoder: Encoder, images: torch.Tensor) -> torch.Tensor:
    """Stand for the embeddings of slices without structures, of which test_a_missing_slice_is_made... makes one."""
    return torch.zeros(len(images), 256, 64, 64)


@pytest.fixture(scope="module")
def evaluated(trained: Path, checkpoint: Path) -> tuple[Path, dict[str, Any]]:
    """The evaluation of the small dataset's one validation and one testing patient, in a folder beside the model."""
    out = trained / "evaluation"
    out.mkdir()
    model = out / "model.pth"
    index = out / "evaluated.tsv"
    model.symlink_to(trained / "training/model.pth")
    (out / "training.json").symlink_to(trained / "training/training.json")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Encoder, "encode", encode_nothing)
        return out, evaluate_model(trained / "data/ACDC", trained, checkpoint, model, SPLITS, out, index, threads=2)


@pytest.mark.parametrize("split", SPLITS)
def test_an_evaluation_has_all_metrics_of_all_ways(
    evaluated: tuple[Path, dict[str, Any]], trained: Path, split: str
) -> None:
    out, metrics = evaluated
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert len(format_table({**metrics, "splits": {split: metrics["splits"][split]}}).splitlines()) == 10
    measured = metrics["splits"][split]
    rows = [row for row in read_table(trained / "data/ACDC/manifest.tsv") if row["split"] == split]
    assert measured["patients"] == sorted({row["patient"] for row in rows}) and measured["slices"] == len(rows) == 2
    assert measured["slices_not_in_the_dataset"] == 2 * 3 - 2
    for way in WAYS:
        of_way = measured["ways"][way]
        for structure in LABELS:
            assert [of_way["structures"][structure][phase]["volumes"] for phase in ("all", "ED", "ES")] == [2, 1, 1]
            assert 0 <= of_way["mean_slice_dice"][structure] <= 1
        assert set(of_way["ejection_fraction"]) == {"LV", "RV"}
    for case in ("best", "median", "worst"):
        assert (out / "cases" / split / f"{case}.png").stat().st_size > 1000


def test_an_evaluation_says_which_patients_chose_the_epoch(evaluated: tuple[Path, dict[str, Any]]) -> None:
    splits = evaluated[1]["splits"]
    assert splits["val"]["seen_in_training"] == {"chose_epoch": splits["val"]["patients"], "trained_on": []}
    assert splits["val"]["remark"].startswith(
        "val: 1 of these 1 patients chose the epoch of the model, so the measures"
    )
    assert splits["test"]["seen_in_training"] == {"chose_epoch": [], "trained_on": []}
    assert (
        splits["test"]["remark"] == "test: these 1 patients had no part in the training or in the choice of the epoch"
    )
    assert evaluated[1]["training"]["patients"]["val"] == splits["val"]["patients"]


def test_a_model_of_unknown_origin_and_one_that_was_trained_on_the_patients() -> None:
    assert find_seen(["patient001"], None) is None
    assert "val: it is not known which patients" in describe_seen("val", ["patient001"], None)
    seen = find_seen(["patient001", "patient002"], {"patients": {"train": ["patient002"], "val": []}})
    assert seen == {"chose_epoch": [], "trained_on": ["patient002"]}
    assert "the model was trained on 1 of these 2 patients" in describe_seen("test", ["patient001", "patient002"], seen)


def test_every_file_of_an_evaluation_is_listed_as_written(evaluated: tuple[Path, dict[str, Any]]) -> None:
    out, metrics = evaluated
    assert list(metrics["splits"]) == list(SPLITS)
    assert is_whole(out / "evaluated.tsv")
    listed = {row["file"]: row["sha256"] for row in read_sealed(out / "evaluated.tsv")}
    present = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
    assert set(listed) == present - {"evaluated.tsv", ".evaluated.tsv.times", "model.pth", "training.json"}
    assert all(sha256 == sha256_file(out / name) for name, sha256 in listed.items())
    assert metrics["model_sha256"] == sha256_file(out / "model.pth")


def test_predictions_are_where_the_scan_is(evaluated: tuple[Path, dict[str, Any]], raw: Path) -> None:
    files = list(evaluated[0].glob("predictions/*/*/*.nii.gz"))
    assert len(files) == 2 * 6
    for file in files:
        source = nib.load(next(raw.rglob(file.name)))
        image = nib.load(file)
        assert image.shape == source.shape and image.get_data_dtype() == np.uint8
        np.testing.assert_allclose(image.affine, source.affine, atol=1e-6)


def test_a_missing_slice_is_made_as_the_stages_do(trained: Path, checkpoint: Path) -> None:
    model = load_model("lite_medsam", checkpoint)
    encoder = make_encoder(model, ENCODERS["lite_medsam"], "float32", torch.device("cpu"))
    dataset = SliceDataset(trained / "data/ACDC", "val", ItemOptions())
    slices = VolumeSlices(dataset, encoder.encode)
    row = dataset.rows[0]
    truth = read_truth(find_volumes(trained, [row])[volume_name(row["patient"], int(row["frame"]))])
    made = slices.make_item(truth, int(row["slice_index"]))
    known = dataset[0]

    png = read_gray(dataset.root / "val/images" / f"{row['slice']}.png")
    assert torch.equal(made["embedding"], encoder.encode(torch.from_numpy(png.copy())[None])[0])
    assert made["slice"] == row["slice"] and torch.equal(made["present"], known["present"])
    # The small dataset's own masks have 64 pixels per side, so one of their pixels is 16 wide at 1024.
    assert (made["mask"] == known["mask"]).float().mean() > 0.97
    assert (made["boxes"] - known["boxes"]).abs().max() <= 32


@pytest.fixture
def kept(made: Path, checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the small dataset, with the checkpoint as the encoder of its embeddings."""
    shutil.copytree(made, tmp_path / "set")
    dataset = SmallDataset(tmp_path / "set")
    dataset.publish()
    set_encoder(dataset, checkpoint)
    return dataset.output


def evaluate(folder: Path, checkpoint: Path, *splits: str) -> dict[str, Any]:
    """Evaluate the released decoder itself; the output goes to ``training/``."""
    data = folder / "data/ACDC"
    out = folder / "training"
    return evaluate_model(data, folder, checkpoint, checkpoint, splits, out, out / "evaluated.tsv", threads=2)


def perfect(*_: Any, **__: Any) -> Predict:
    """Predict each structure exactly."""
    return lambda item: torch.stack([item["mask"] == value for value in LABELS.values()]).float() * 2 - 1


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the encoder's work where predictions do not need it."""
    monkeypatch.setattr(run, "with_boxes", perfect)
    monkeypatch.setattr(run, "without_prompts", perfect)
    monkeypatch.setattr(Encoder, "encode", encode_nothing)


def count_empty_slices(folder: Path, split: str) -> int:
    """Number of slices of the split's volumes that the manifest leaves out, because they show nothing."""
    volumes = find_volumes(
        folder, [row for row in read_table(folder / "data/ACDC/manifest.tsv") if row["split"] == split]
    )
    return sum(not label.any() for path in volumes.values() for label in read_truth(path).label)


@pytest.mark.usefixtures("no_model")
def test_a_perfect_predictor_is_perfect_and_empty_slices_count(
    kept: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in SPLITS:
        measured = evaluate(kept, checkpoint, split)["splits"][split]
        empty = count_empty_slices(kept, split)
        assert measured["slices_not_in_the_dataset"] == empty
        for structure in LABELS:
            of_way = measured["ways"]["fine_tuned"]
            # The small dataset's masks have 64 pixels for slices of 48, so they lose nothing either.
            assert of_way["structures"][structure]["all"]["dice"] == 1 == of_way["mean_slice_dice"][structure]
            without = of_way["slices_without"][structure]["all"]
            assert without["slices"] >= empty and without["found"] == 0

    # Another assignment measures patients whose files lie in the folders of another split.
    rows = read_table(kept / "data/ACDC/manifest.tsv")
    held_out = Assignment({row["patient"]: "test" for row in rows if row["split"] == "train"})
    out = kept / "training"
    metrics = evaluate_model(
        kept / "data/ACDC", kept, checkpoint, checkpoint, ["test"], out, threads=2, assignment=held_out
    )
    measured = metrics["splits"]["test"]
    assert set(measured["patients"]) == set(held_out.splits or ()) and measured["seen_in_training"] is None
    assert measured["ways"]["fine_tuned"]["structures"]["LV"]["all"]["dice"] == 1

    def everywhere(*_: Any, **__: Any) -> Predict:
        return lambda item: torch.ones(3, PROMPT_SIZE, PROMPT_SIZE)

    monkeypatch.setattr(run, "without_prompts", everywhere)
    without = evaluate(kept, checkpoint, "val")["splits"]["val"]["ways"]["fine_tuned"]["slices_without"]
    assert all(one["all"]["found"] == one["all"]["slices"] > 0 for one in without.values())
    assert all(one["all"]["found"] == one["ED"]["found"] + one["ES"]["found"] for one in without.values())


@pytest.mark.usefixtures("no_model")
def test_the_files_of_an_earlier_evaluation_are_removed(
    kept: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line, which measures `val` by default."""
    out = kept / "training"
    prediction = "fine_tuned/patient009_frame01.nii.gz"
    left = [out / name for name in ("evaluated.tsv", f"predictions/val/{prediction}", f"predictions/{prediction}")]
    left += [out / name for name in (f"predictions/test/{prediction}", "cases/test/best.png", "cases/best.png")]
    notes = out / "predictions/val/notes.txt"
    for file in (*left, notes, out / "metrics.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert splits_to_measure(kept / "data/ACDC") == list(SPLITS)
    options = ["evaluate", str(kept / "data/ACDC"), "--checkpoint", str(checkpoint), "--model", str(checkpoint)]
    assert main([*options, "--out", str(out), "--split", "train"]) == 2
    assert main([*options, "--out", str(out)]) == 0
    assert re.match(r"val +structure", capsys.readouterr().out)
    assert [file for file in left if file.exists()] == [] and notes.exists()
    assert not list(out.glob("*/test"))
    assert list(json.loads((out / "metrics.json").read_text())["splits"]) == ["val"]


@pytest.mark.usefixtures("no_model")
def test_a_dataset_that_was_split_by_slice_is_refused(kept: Path, checkpoint: Path) -> None:
    SmallDataset(kept).publish(unit="slice")
    set_encoder(SmallDataset(kept), checkpoint)
    rows = read_table(kept / "data/ACDC/manifest.tsv")
    patients = {split: {row["patient"] for row in rows if row["split"] == split} for split in ("train", "val")}
    shared = len(patients["train"] & patients["val"])
    count = len(patients["val"])
    assert shared
    with pytest.raises(DatasetError, match=f"{shared} of the {count} patients of 'val' .* set split.unit: patient"):
        evaluate(kept, checkpoint, "val")
    require_whole_patients(kept / "data/ACDC/manifest.tsv", rows, "test")  # No testing patient is trained on.


@pytest.mark.usefixtures("no_model")
def test_a_split_without_structures_has_nothing_to_measure(kept: Path, checkpoint: Path) -> None:
    for row in read_table(kept / "data/ACDC/manifest.tsv"):
        if row["split"] == "val":
            volume = find_volume(kept, volume_name(row["patient"], int(row["frame"])))
            content = read_h5(volume, 3)
            volume.unlink()
            write_h5(volume, content.image, np.zeros_like(content.label), content.attributes, content.image.shape)
    with pytest.raises(DatasetError, match="no volume of 'val' shows a structure"):
        evaluate(kept, checkpoint, "val")


def test_the_report_shows_results_of_this_dataset_and_model(
    evaluated: tuple[Path, dict[str, Any]], trained: Path, tmp_path: Path
) -> None:
    manifest = trained / "data/ACDC/manifest.tsv"
    metrics = evaluated[0] / "metrics.json"
    found = results_section(metrics, manifest)
    assert found is not None and [results.split for results in found] == list(SPLITS)
    for results in found:
        assert [len(table.rows) for table in results.tables] == [18, 6]
        assert all(len(row) == len(table.columns) for table in results.tables for row in table.rows)
        assert [title.split(":")[0] for title, _, _ in results.cases] == ["Best", "Median", "Worst"]
    assert results_section(None, manifest) is results_section(tmp_path / "none.json", manifest) is None
    other = tmp_path / "manifest.tsv"
    other.write_text("another dataset")
    assert results_section(metrics, other) is None

    (tmp_path / "metrics.json").write_text(metrics.read_text())
    (tmp_path / "cases").symlink_to(metrics.parent / "cases")
    assert results_section(tmp_path / "metrics.json", manifest) is None, "there is no model"
    (tmp_path / "model.pth").symlink_to(metrics.parent / "model.pth")
    assert results_section(tmp_path / "metrics.json", manifest) is not None
    (tmp_path / "model.pth").unlink()
    (tmp_path / "model.pth").write_text("another model")
    assert results_section(tmp_path / "metrics.json", manifest) is None
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(DatasetError, match="run `snakemake evaluate`"):
        results_section(tmp_path / "metrics.json", manifest)


def test_a_page_has_the_section_if_there_are_results(
    evaluated: tuple[Path, dict[str, Any]], reported: SmallDataset, raw: Path
) -> None:
    content = json.loads((evaluated[0] / "metrics.json").read_text())
    content["manifest_sha256"] = sha256_file(reported.data / "manifest.tsv")
    metrics = reported.output / "metrics.json"
    metrics.write_text(json.dumps(content))
    for name in ("cases", "model.pth"):
        (reported.output / name).symlink_to(evaluated[0] / name)
    page = reported.report(raw, metrics=metrics)
    assert 'id="results"' in page and "fine-tuned, without prompts" in page and 'class="case"' in page
    assert "Patients of val: 1<" in page and "Patients of test: 1<" in page
