"""Scans on the command line, with a stand-in for the model that finds a left ventricle wherever it is bright."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acdc_medsam.cli import main
from acdc_medsam.encoders import Encoder
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.predict import segment
from acdc_medsam.predict.find_scans import ScanFile
from acdc_medsam.predict.prepare import prepare_scan
from acdc_medsam.predict.segmenter import Segmenter
from acdc_medsam.stages.normalize import normalize_intensities
from acdc_medsam.stages.render import round_image
from acdc_medsam.train.model import identify_model
from scans import write_scan

BRIGHT = 128


class Bright(Segmenter):
    """Labels bright pixels as left ventricle, and counts the images."""

    images = 0

    def label(self, images: Tensor) -> Tensor:
        Bright.images += len(images)
        return (images > BRIGHT).to(torch.uint8) * 3


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for a model."""
    encoder = Encoder(nn.Identity(), ENCODERS["lite_medsam"], "float32", torch.device("cpu"))
    monkeypatch.setattr(segment, "load_segmenter", lambda facts, device: Bright(nn.Identity(), encoder, torch.empty(0)))
    monkeypatch.setattr(Bright, "images", 0)
    path = tmp_path / "training/model.pth"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    describe(path)
    return path


def describe(model: Path, **facts: Any) -> None:
    """Write training.json."""
    known = {"encoder": "lite_medsam", "precision": "float32", "image_size": 1024, "percentile": 99}
    content = {"model_sha256": sha256_file(model), "files": {}, "patients": {"train": [], "val": []}, **known, **facts}
    (model.parent / "training.json").write_text(json.dumps(content))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A single volume and a cine."""
    write_scan(tmp_path / "scans/one.nii.gz", (12, 10, 2))
    write_scan(tmp_path / "scans/two_4d.nii.gz", (12, 10, 2, 3))
    return tmp_path / "scans"


def predict(model: Path, *paths: Path, status: int = 0) -> int:
    """Run the command, and return how many images were segmented."""
    before = Bright.images
    out = model.parents[1] / "out"
    command = ["predict", "--model", str(model), "--out", str(out), "--threads", "2"]
    assert main([*command, *map(str, paths)]) == status
    return Bright.images - before


def test_a_frame_is_normalized_by_itself(scans: Path) -> None:
    path = scans / "two_4d.nii.gz"
    prepared = prepare_scan(ScanFile(path, "two_4d", "two"), 95)
    frames = np.asarray(nib.load(path).dataobj).T
    for ours, frame in zip(prepared.scan.images, frames, strict=True):
        np.testing.assert_array_equal(ours, round_image(normalize_intensities(frame, 95).image))
    assert prepared.scan.spacing == pytest.approx((8.0, 1.5, 1.5), abs=0.1)
    assert prepared.scan.frame_seconds == pytest.approx(0.0325)


def test_masks_are_in_the_place_of_the_scans(model: Path, scans: Path) -> None:
    assert predict(model, scans) == 8
    for name, frames in (("one", 1), ("two_4d", 3)):
        scan, mask = (nib.load(path) for path in (scans / f"{name}.nii.gz", scans.parent / f"out/masks/{name}.nii.gz"))
        assert mask.shape == scan.shape and np.array_equal(mask.affine, scan.affine)
        labels = np.asarray(mask.dataobj)
        assert set(np.unique(labels)) == {0, 3} and labels[..., 0].any() and len(labels.T) in (frames, 2)
    assert {path.name for path in (scans.parent / "out").iterdir()} == {
        *("masks", "scans", "measurements.tsv", "report.html")
    }


def test_what_is_done_is_not_done_again(model: Path, scans: Path) -> None:
    out = scans.parent / "out"
    predict(model, scans)
    known = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.parent != out and path.is_file()}
    assert predict(model, scans) == 0
    assert known == {path: path.stat().st_mtime_ns for path in known}

    content = (out / "masks/one.nii.gz").read_bytes()
    (out / "masks/one.nii.gz").unlink()
    assert predict(model, scans) == 2 and (out / "masks/one.nii.gz").read_bytes() == content
    write_scan(scans / "one.nii.gz", (12, 10, 3))
    assert predict(model, scans) == 3
    describe(model, percentile=90)
    assert predict(model, scans) == 9
    model.write_bytes(b"other weights")
    describe(model)
    assert predict(model, scans / "one.nii.gz") == 3
    # A scan that was not named stays where it is, but is not on the page.
    assert (out / "masks/two_4d.nii.gz").exists()
    assert "two_4d" not in (out / "measurements.tsv").read_text()

    # The phases are not in the mask.
    write_scan(scans / "patient001_4d.nii.gz", (12, 10, 2, 3))
    assert predict(model, scans / "patient001_4d.nii.gz") == 6
    (scans / "Info.cfg").write_text("ED: 1\nES: 3\n")
    assert predict(model, scans / "patient001_4d.nii.gz") == 0
    assert [row["named_phase"] for row in read_table(out / "measurements.tsv")] == ["ED", "", "ES"]

    picture = next((out / "scans/one").glob("*.webp"))
    drawn = picture.read_bytes()
    picture.write_bytes(b"damaged")
    assert predict(model, scans / "one.nii.gz") == 0 and picture.read_bytes() == drawn


def test_unusable_scans_are_named_and_the_others_segmented(
    model: Path, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scans / "broken.nii.gz").write_bytes(b"no gzip")
    image = nib.load(write_scan(scans / "constant.nii.gz", (12, 10, 2, 2)))
    voxels = np.asarray(image.dataobj).copy()
    voxels[..., 1] = 7
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), scans / "constant.nii.gz")
    assert predict(model, scans, scans.parent / "none", status=1) == 8
    error = capsys.readouterr().err
    assert "broken.nii.gz: its header cannot be read" in error
    assert "constant.nii.gz, frame 2: intensities have no range to scale" in error
    assert "none: there is no such file or folder; correct its name" in error and "Traceback" not in error
    assert {path.name for path in (scans.parent / "out/masks").iterdir()} == {"one.nii.gz", "two_4d.nii.gz"}
    assert "broken.nii.gz" in (scans.parent / "out/report.html").read_text()


def test_what_is_said_of_a_model_is_used_and_the_rest_assumed(model: Path, checkpoint: Path, tmp_path: Path) -> None:
    describe(model, precision="bfloat16", image_size=512, percentile=98.5)
    facts = identify_model(model)
    assert (facts.encoder, facts.precision, facts.image_size, facts.percentile) == (
        "lite_medsam",
        "bfloat16",
        512,
        98.5,
    )
    assert facts.describe_assumptions() == ""
    # What cannot be is taken for unknown.
    describe(model, precision=["float32"], image_size=10**9, percentile="99")
    assert identify_model(model).assumed == ("precision", "image_size", "percentile")

    alone = tmp_path / "model.pth"
    alone.symlink_to(checkpoint)
    assumed = identify_model(alone)
    assert assumed.encoder == "lite_medsam" and assumed.training is None
    assert "encoder lite_medsam, precision float32, image_size 1024, percentile 99.0" in assumed.describe_assumptions()


def test_a_model_whose_encoder_is_unknown_is_refused(
    model: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--model", "none.pth", "scan.nii"]) == 1
    assert "none.pth: there is no such model; train one" in capsys.readouterr().err

    (model.parent / "training.json").unlink()
    fitting = ["medsam_vit_b", "sam_vit_b"]
    monkeypatch.setattr("acdc_medsam.encoders.checkpoint.read_weights", lambda path, spec: {})
    monkeypatch.setattr("acdc_medsam.encoders.checkpoint.find_fitting", lambda weights: fitting)
    with pytest.raises(CheckpointError, match="fits medsam_vit_b and sam_vit_b, and no training"):
        identify_model(model)
    assert identify_model(model, "sam_vit_b").encoder == "sam_vit_b"
    fitting.append("lite_medsam")
    assert identify_model(checkpoint, "sam_vit_b").encoder == "lite_medsam", "the file is the published one"
    fitting.clear()
    with pytest.raises(CheckpointError, match="fits no encoder of this version"):
        identify_model(model, "sam_vit_b")
