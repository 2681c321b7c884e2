"""Training on three slices of phantoms with LiteMedSAM's decoder; how good it gets is for real data to say."""

import importlib
import logging
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import acdc_medsam.train.fit as fit
from acdc_medsam.decoder import decode, decode_box, encode_boxes
from acdc_medsam.encoders import load_model
from acdc_medsam.encoders.sam import modeling
from acdc_medsam.encoders.tiny_vit import build_lite_medsam
from acdc_medsam.errors import CheckpointError, ConfigError
from acdc_medsam.evaluate.predict import without_prompts
from acdc_medsam.files import read_table
from acdc_medsam.train.history import SECONDS
from acdc_medsam.train.options import TrainOptions
from acdc_medsam.train.task import FineTuning
from acdc_medsam.train.weights import encoder_of, find_checkpoint
from small_dataset import SmallDataset

OPTIONS = TrainOptions(epochs=2, batch_size=1)


def same(one: Path, other: Path) -> bool:
    """Whether two models have the same weights, bit for bit."""
    first, second = (torch.load(path, weights_only=True) for path in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def epochs(log: Path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key not in SECONDS} for row in read_table(log)]


def test_a_batch_is_decoded_as_segment_anything_does_one_by_one() -> None:
    model = build_lite_medsam().requires_grad_(False)
    embeddings, encoding = torch.randn(2, 256, 64, 64), model.prompt_encoder.get_dense_pe()
    boxes = torch.tensor([[100.0, 200, 600, 700], [300, 0, 1000, 500]])
    sparse, dense = encode_boxes(model.prompt_encoder, boxes)
    found = decode(model.mask_decoder, embeddings, encoding, sparse, dense)
    for number in range(2):
        one = slice(number, number + 1)
        expected, _ = model.mask_decoder.predict_masks(embeddings[one], encoding, sparse[one], dense[one])
        torch.testing.assert_close(found[one], expected, rtol=1e-4, atol=1e-4)
    assert decode_box(model, embeddings[0], encoding, boxes[0], 0, 512).shape == (512, 512)


def test_a_run_that_crashed_goes_on_to_the_same_weights(
    trained: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data, model = trained / "data/ACDC", tmp_path / "model.pth"
    step = FineTuning.training_step

    def crash(task: Any, batch: Any, number: int) -> Any:
        if task.current_epoch == 1 and number == 1:
            raise MemoryError
        return step(task, batch, number)

    monkeypatch.setattr(FineTuning, "training_step", crash)
    with pytest.raises(MemoryError):
        fit.fine_tune(data, checkpoint, model, OPTIONS, threads=2)
    assert len(epochs(tmp_path / "log.tsv")) == 1 and not model.exists()
    monkeypatch.setattr(FineTuning, "training_step", step)
    with caplog.at_level(logging.INFO):
        fit.fine_tune(data, checkpoint, model, OPTIONS, threads=2)
    assert "going on with" in caplog.text
    states = [torch.load(folder / "last.ckpt", weights_only=True) for folder in (tmp_path, trained / "training")]
    assert states[0]["global_step"] == states[1]["global_step"] == 4
    torch.testing.assert_close(states[0]["state_dict"], states[1]["state_dict"], rtol=0, atol=0)
    torch.testing.assert_close(states[0]["optimizer_states"], states[1]["optimizer_states"], rtol=0, atol=0)
    assert same(model, trained / "training/model.pth")
    assert epochs(tmp_path / "log.tsv") == epochs(trained / "training/log.tsv")
    with caplog.at_level(logging.INFO):
        assert fit.resumable(tmp_path / "last.ckpt", "another run") is None
        (tmp_path / "last.ckpt").write_bytes(b"damaged")
        assert fit.resumable(tmp_path / "last.ckpt", "a run") is None
    assert "is of other data or options" in caplog.text and "last.ckpt cannot be read" in caplog.text


def test_a_run_that_is_killed_again_and_again(
    trained: Path, checkpoint: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With SIGKILL, at any time; each run takes some ten seconds to start."""
    kills: int = request.config.getoption("--training-kills")
    if not kills:
        pytest.skip("kill a training run so many times with --training-kills")
    command = [sys.executable, "-m", "acdc_medsam.train", "--data_dir", str(trained / "data/ACDC")]
    command += ["--checkpoint", str(checkpoint), "--epochs", str(2 * kills), "--batch_size", "1", "--threads", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(fit.__file__).parents[2])}
    started = time.monotonic()
    subprocess.run([*command, "--out", str(tmp_path / "whole")], env=environment, check=True)
    seconds, chance, killed = time.monotonic() - started, random.Random(7), list[int]()
    while len(killed) < kills:
        process = subprocess.Popen([*command, "--out", str(tmp_path / "killed")], env=environment)
        try:
            assert process.wait(seconds * chance.uniform(0.3, 0.9)) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            log = tmp_path / "killed/log.tsv"
            killed.append(len(epochs(log)) if log.exists() else 0)
    subprocess.run([*command, "--out", str(tmp_path / "killed")], env=environment, check=True)
    print("killed after epochs", killed, "of", 2 * kills)
    assert killed and same(tmp_path / "killed/model.pth", tmp_path / "whole/model.pth")
    assert epochs(tmp_path / "killed/log.tsv") == epochs(tmp_path / "whole/log.tsv")
    states = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("killed", "whole")]
    torch.testing.assert_close(states[0]["state_dict"], states[1]["state_dict"], rtol=0, atol=0)


def test_what_is_saved_is_the_best_epoch(trained: Path) -> None:
    rows = read_table(trained / "training/log.tsv")
    best = torch.load(trained / "training/best.ckpt", weights_only=True)
    assert best["epoch"] + 1 == int(max(rows, key=lambda row: float(row["val_dice"]))["epoch"])
    model = torch.load(trained / "training/model.pth", weights_only=True)
    for key, value in best["state_dict"].items():
        if key.startswith("decoder."):
            assert torch.equal(model[key.replace("decoder.", "mask_decoder.", 1)], value)


def test_the_model_is_the_encoders_own_with_another_decoder(trained: Path, checkpoint: Path) -> None:
    before, after = (torch.load(path, weights_only=True) for path in (checkpoint, trained / "training/model.pth"))
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert before.keys() == after.keys()
    assert changed and all(key.startswith("mask_decoder.") for key in changed)


def test_segment_anything_takes_the_model_and_says_the_same(trained: Path) -> None:
    path, empty = trained / "training/model.pth", build_lite_medsam()
    sam = modeling.Sam(empty.image_encoder, empty.prompt_encoder, empty.mask_decoder)
    sam.load_state_dict(torch.load(path, weights_only=True), strict=True, assign=True)
    sam.image_encoder.img_size = 256
    embedding, encoding = torch.randn(256, 64, 64), sam.prompt_encoder.get_dense_pe().detach()
    with torch.no_grad():
        prompts = sam.prompt_encoder(points=None, boxes=None, masks=None)
        logits, _ = sam.mask_decoder(embedding[None], encoding, *prompts, multimask_output=True)
        masks = sam.postprocess_masks(logits, (256, 256), (1024, 1024))[0] > sam.mask_threshold
    ours = without_prompts(load_model("lite_medsam", path), encoding)({"embedding": embedding}) > 0
    # Ours gives each pixel to one structure, so it may leave out what two of SAM's masks share.
    assert torch.equal(ours.any(0), masks.any(0))
    assert not (ours & ~masks).any() and ours.sum(0).max() <= 1


def test_the_published_lite_medsam_takes_the_model(trained: Path) -> None:
    from reference import WHEEL, lite_medsam_model

    if not WHEEL.is_file():
        pytest.skip(f"{WHEEL.name} is not there; `make test` fetches it")
    lite_medsam_model().load_state_dict(torch.load(trained / "training/model.pth", weights_only=True), strict=True)


def test_the_checkpoint_is_known_by_the_embeddings(trained: Path, checkpoint: Path, small: SmallDataset) -> None:
    data = trained / "data/ACDC"
    assert encoder_of(data, checkpoint) == "lite_medsam"
    other = small.output / "other.pth"
    other.write_bytes(b"other weights")
    assert find_checkpoint(data, [other, checkpoint]) == checkpoint
    with pytest.raises(CheckpointError, match=r"other.pth did not make the embeddings"):
        encoder_of(data, other)
    with pytest.raises(CheckpointError, match="looked at no file in checkpoints/"):
        find_checkpoint(data, [])
    with pytest.raises(CheckpointError, match=r"gone.pth is missing"):
        encoder_of(data, small.output / "gone.pth")


def test_a_command_says_what_is_wrong(
    small: SmallDataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from acdc_medsam.train.__main__ import main

    monkeypatch.chdir(small.output)
    assert main(["--data_dir", "nowhere"]) == 1
    assert capsys.readouterr().err == "error: nowhere/manifest.tsv is missing: run the workflow again to make it\n"
    assert main(["--epochs", "0"]) == 1
    assert "epochs and batch_size must be 1 or more" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        replace(OPTIONS, learning_rate=2)


def test_the_documented_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs/training.md").read_text()
    commands = re.findall(r"^python -m acdc_medsam\.(train|evaluate) (.*)$", text, re.MULTILINE)
    assert len(commands) >= 2
    for name, options in commands:
        with pytest.raises(SystemExit):
            importlib.import_module(f"acdc_medsam.{name}.__main__").main(["--help"])
        known = capsys.readouterr().out
        assert all(option in known for option in re.findall(r"--\w+", options))


def test_splits_by_patient_and_by_slice_are_compared(trained: Path, checkpoint: Path, tmp_path: Path) -> None:
    from leakage import UNITS, measure

    options = TrainOptions(epochs=1, batch_size=4)
    found = {unit: measure(trained / "data/ACDC", checkpoint, unit, 0.5, options, tmp_path) for unit in UNITS}
    assert found["patient"]["patients_on_both_sides"] == 0 < found["slice"]["patients_on_both_sides"]
    assert all(one["training_slices"] == one["validation_slices"] == 2 for one in found.values())
    assert all(0 <= one["val_dice"] <= 1 for one in found.values())
