"""Training on a few slices of phantoms with LiteMedSAM's decoder. How good it gets is measured on real data."""

import logging
import math
import os
import random
import re
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import acdc_medsam.train.fit as fit
from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.cli import main
from acdc_medsam.data.assignment import Assignment
from acdc_medsam.encoders import load_model
from acdc_medsam.encoders.decoder import decode, decode_box, encode_boxes, upscale_masks
from acdc_medsam.encoders.sam import LayerNorm2d, modeling
from acdc_medsam.encoders.tiny_vit import build_lite_medsam
from acdc_medsam.errors import CheckpointError, ConfigError, DatasetError
from acdc_medsam.evaluate.predict import without_prompts
from acdc_medsam.formats.files import read_sealed, read_table, sha256_file, write_table
from acdc_medsam.formats.png import read_gray, write_png
from acdc_medsam.layout import MANIFEST_COLUMNS
from acdc_medsam.train.facts import read_facts
from acdc_medsam.train.history import SECONDS
from acdc_medsam.train.options import TrainOptions
from acdc_medsam.train.task import FineTuning, make_schedule
from acdc_medsam.train.weights import find_checkpoint, identify_encoder
from indexes import is_whole
from small_dataset import SmallDataset
from trained import keeping_last
from workflow_run import SERVER

ROOT = Path(__file__).parents[3]
OPTIONS = TrainOptions(epochs=2, batch_size=1)


def have_same_weights(one: Path, other: Path) -> bool:
    """Whether two models have the same weights, bit for bit."""
    first, second = (torch.load(path, weights_only=True) for path in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def epochs(log: Path) -> list[dict[str, str]]:
    """Rows of a log without its durations."""
    return [{key: value for key, value in row.items() if key not in SECONDS} for row in read_table(log)]


def test_a_batch_is_decoded_as_segment_anything_does_one_by_one() -> None:
    model = build_lite_medsam().requires_grad_(False)
    norm = model.mask_decoder.output_upscaling[1]
    # Fresh weights are 1 and 0, which would not show that they are mixed up.
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    embeddings = torch.randn(2, 256, 64, 64)
    encoding = model.prompt_encoder.get_dense_pe()
    boxes = torch.tensor([[100.0, 200, 600, 700], [300, 0, 1000, 500]])
    sparse, dense = encode_boxes(model.prompt_encoder, boxes)
    found = decode(model.mask_decoder, embeddings, encoding, sparse, dense)
    for index in range(2):
        one = slice(index, index + 1)
        expected, _ = model.mask_decoder.predict_masks(embeddings[one], encoding, sparse[one], dense[one])
        torch.testing.assert_close(found[one], expected, rtol=1e-4, atol=1e-4)
    assert decode_box(model, embeddings[0], encoding, boxes[0], 0, 512).shape == (512, 512)


def test_each_token_becomes_sixteen_pixels_in_their_places() -> None:
    first = torch.nn.ConvTranspose2d(1, 2, 2, stride=2)
    second = torch.nn.ConvTranspose2d(2, 1, 2, stride=2)
    quarters = torch.tensor([[1.0, -2], [3, 4]])
    pixels = torch.tensor([[1.0, 10], [100, 1000]])
    with torch.no_grad():
        # The two channels are each other's negatives, so normalization leaves their signs.
        first.weight.copy_(torch.stack([quarters, -quarters])[None])
        second.weight.copy_(torch.stack([pixels, 0 * pixels])[:, None])
        torch.nn.init.zeros_(first.bias)
        torch.nn.init.ones_(second.bias)
    keep = torch.nn.Identity()
    upscaling = torch.nn.Sequential(first, LayerNorm2d(2, eps=0), keep, second, keep)
    tokens = torch.tensor([[5.0, -7], [0.25, 2]])
    found = upscale_masks(upscaling, tokens.reshape(1, 4, 1), torch.tensor([[[1.0], [-2]]]))

    expected = torch.kron(tokens.sign(), torch.kron(quarters.sign(), pixels)) + 1
    torch.testing.assert_close(found, torch.stack([expected, -2 * expected])[None])


def reference_factor(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step: 5 % of the steps rise linearly, the others fall along a cosine."""
    warm_up = max(1, round(0.05 * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


@pytest.mark.parametrize("steps", [1, 2, 4, 29, 30, 100, 1234, 12000])
def test_the_learning_rate_follows_the_formula_step_by_step(steps: int) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = make_schedule(optimizer, steps)
    for step in range(steps):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(3e-4 * reference_factor(step, steps), rel=1e-9)
        optimizer.step()
        schedule.step()


def test_the_options_have_the_defaults_of_the_configuration() -> None:
    configuration = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert TrainOptions(**configuration["train"]) == TrainOptions()


def test_a_run_that_crashed_resumes_to_the_same_weights(
    trained: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = trained / "data/ACDC"
    model = tmp_path / "model.pth"
    step = FineTuning.training_step

    def crash(task: Any, batch: Any, batch_index: int) -> Any:
        if task.current_epoch == 1 and batch_index == 1:
            raise MemoryError
        return step(task, batch, batch_index)

    monkeypatch.setattr(FineTuning, "training_step", crash)
    with pytest.raises(MemoryError):
        fit.fine_tune(data, checkpoint, model, OPTIONS, threads=2)
    assert len(epochs(tmp_path / "log.tsv")) == 1 and not model.exists()

    monkeypatch.setattr(FineTuning, "training_step", step)
    shutil.copyfile(tmp_path / "last.ckpt", tmp_path / "stopped.ckpt")
    with caplog.at_level(logging.INFO), keeping_last():
        fit.fine_tune(data, checkpoint, model, OPTIONS, threads=2)
    assert "resuming from" in caplog.text
    states = [torch.load(folder / "kept.ckpt", weights_only=True) for folder in (tmp_path, trained / "training")]
    assert states[0]["global_step"] == states[1]["global_step"] == 4
    torch.testing.assert_close(states[0]["state_dict"], states[1]["state_dict"], rtol=0, atol=0)
    torch.testing.assert_close(states[0]["optimizer_states"], states[1]["optimizer_states"], rtol=0, atol=0)
    assert have_same_weights(model, trained / "training/model.pth")
    assert epochs(tmp_path / "log.tsv") == epochs(trained / "training/log.tsv")

    shutil.move(tmp_path / "stopped.ckpt", tmp_path / "last.ckpt")
    with caplog.at_level(logging.INFO):
        assert fit.find_resumable(tmp_path / "last.ckpt", "another run") is None
        (tmp_path / "last.ckpt").write_bytes(b"damaged")
        assert fit.find_resumable(tmp_path / "last.ckpt", "a run") is None
    assert "belongs to other data, options or code" in caplog.text and "last.ckpt cannot be read" in caplog.text


def test_a_run_that_is_killed_again_and_again(
    trained: Path, checkpoint: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With SIGKILL, finally in the second epoch, and after the last epoch before the model is written."""
    kills: int = request.config.getoption("--training-kills")
    if not kills:
        pytest.skip("set --training-kills to the number of times that a training run is killed")
    chance = random.Random(7)
    early = [chance.choice(["step:1", "step:2", "write:log.tsv", "write:best.ckpt"]) for _ in range(kills - 2)]
    moments = [*early, "step:4", "write:model.pth"][-kills:]
    folders = [str(trained / "data/ACDC"), "--out", str(tmp_path / "killed")]
    options = ["--checkpoint", str(checkpoint), "--epochs", "2", "--batch-size", "1", "--threads", "2"]
    helper = Path(__file__).parents[2] / "helpers/trained.py"
    environment = {**os.environ, "PYTHONPATH": str(Path(fit.__file__).parents[2])}

    def start(moment: str) -> int:
        return subprocess.run([SERVER.python(), str(helper), moment, *folders, *options], env=environment).returncode

    assert [start(moment) for moment in moments] == [-signal.SIGKILL] * kills
    assert not (tmp_path / "killed/model.pth").exists()
    with keeping_last():
        assert main(["train", *folders, *options]) == 0

    whole = trained / "training"
    killed = tmp_path / "killed"
    assert have_same_weights(killed / "model.pth", whole / "model.pth")
    assert (killed / "model.pth").read_bytes() == (whole / "model.pth").read_bytes()
    assert epochs(killed / "log.tsv") == epochs(whole / "log.tsv")
    states = [torch.load(folder / "kept.ckpt", weights_only=True) for folder in (killed, whole)]
    torch.testing.assert_close(states[0]["state_dict"], states[1]["state_dict"], rtol=0, atol=0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that take no time, but whose result depends on the labels."""

    def step(task: FineTuning, batch: Any, batch_index: int) -> torch.Tensor:
        pattern = batch["mask"][0].flatten()[::64].view(4, 256) - 0.5
        loss: torch.Tensor = (task.decoder.mask_tokens.weight * pattern).sum()  # type: ignore[union-attr, operator]
        return loss

    def validate(task: FineTuning, batch: Any) -> None:
        task.dice_values["dice_LV"].append(torch.tensor(0.5))

    monkeypatch.setattr(FineTuning, "training_step", step)
    monkeypatch.setattr(FineTuning, "validation_step", validate)


class Trained:
    """A folder of its own with a dataset and a model that was trained on it."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.data = folder / "data/ACDC"
        self.work = folder / "training"
        self.model = self.work / "model.pth"
        self.checkpoint = checkpoint

    def train(self) -> None:
        """Fine-tune with OPTIONS."""
        fit.fine_tune(self.data, self.checkpoint, self.model, OPTIONS, threads=2)

    def remove_outputs(self) -> None:
        """Remove the declared outputs, as Snakemake does before each job."""
        for name in ("model.pth", "trained.tsv"):
            (self.work / name).unlink(missing_ok=True)

    def shift_labels(self) -> None:
        """Move all labels by six pixels, so that each structure keeps its number of pixels."""
        rows = read_table(self.data / "manifest.tsv")
        for row in rows:
            mask = self.data / row["split"] / "masks" / f"{row['slice']}.png"
            moved = np.roll(read_gray(mask), 6, axis=1)
            mask.unlink()  # shared with what it was published from
            write_png(mask, moved)
            row["mask_sha256"] = sha256_file(mask)
        write_table(self.data / "manifest.tsv", MANIFEST_COLUMNS, rows)


@pytest.fixture
def again(trained: Path, checkpoint: Path, tmp_path: Path, quick: None) -> Trained:
    """A copy of the dataset with a quickly trained model."""
    shutil.copytree(trained / "data", tmp_path / "data")
    made = Trained(tmp_path, checkpoint)
    made.train()
    return made


EVALUATION = (
    "metrics.json",
    "evaluated.tsv",
    "predictions/val/fine_tuned/patient001_frame01.nii.gz",
    "predictions/fine_tuned/patient001_frame01.nii.gz",
    "cases/val/best.png",
)


def test_other_labels_are_trained_on_anew_and_nothing_old_stays(
    again: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    before = again.model.read_bytes()
    for name in (*EVALUATION, "notes.txt", "predictions/notes.txt"):
        (again.work / name).parent.mkdir(parents=True, exist_ok=True)
        (again.work / name).touch()
    again.shift_labels()
    again.remove_outputs()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        again.train()
    assert "resuming from" not in caplog.text and "epoch 1 of 2" in caplog.text
    assert again.model.read_bytes() != before
    assert [name for name in EVALUATION if (again.work / name).exists()] == []
    assert not (again.work / "cases").exists()
    for name in ("notes.txt", "predictions/notes.txt"):
        assert (again.work / name).exists(), "it is not the workflow's"


def test_other_code_trains_anew(
    again: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fit, "code_hash", lambda script: "another loss", raising=False)
    again.remove_outputs()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        again.train()
    assert "resuming from" not in caplog.text and "epoch 1 of 2" in caplog.text


def test_a_stopped_run_of_other_code_is_not_resumed(
    again: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    step = FineTuning.training_step

    def crash(task: Any, batch: Any, batch_index: int) -> Any:
        if task.current_epoch == 1:
            raise MemoryError
        return step(task, batch, batch_index)

    again.remove_outputs()
    monkeypatch.setattr(FineTuning, "training_step", crash)
    with pytest.raises(MemoryError):
        again.train()
    assert (again.work / "last.ckpt").is_file()
    monkeypatch.setattr(FineTuning, "training_step", step)
    monkeypatch.setattr(fit, "code_hash", lambda script: "another loss", raising=False)
    with caplog.at_level(logging.INFO):
        again.train()
    assert "resuming from" not in caplog.text and "epoch 1 of 2" in caplog.text.split("last.ckpt belongs to other")[1]


def test_a_finished_run_is_trained_again_only_without_outputs(again: Trained, caplog: pytest.LogCaptureFixture) -> None:
    """Outputs are missing after ``snakemake --forcerun``; the command line alone does not train again."""
    before = again.model.read_bytes(), again.model.stat().st_mtime_ns
    caplog.clear()
    with caplog.at_level(logging.INFO):
        (again.work / "last.ckpt").touch()  # As if it had been killed at the very end.
        again.train()
        assert not (again.work / "last.ckpt").exists()
        assert "is already trained" in caplog.text and "epoch 1 of 2" not in caplog.text
        assert before == (again.model.read_bytes(), again.model.stat().st_mtime_ns)
        # An index that is missing or damaged is written anew.
        index = again.work / "trained.tsv"
        known = index.read_bytes()
        for harm in (index.unlink, lambda: index.write_bytes(b"damaged")):
            harm()
            again.train()
            assert index.read_bytes() == known and "epoch 1 of 2" not in caplog.text
        again.remove_outputs()
        again.train()
    assert "epoch 1 of 2" in caplog.text and "resuming from" not in caplog.text
    for name in ("log.tsv", "best.ckpt", "training.json"):
        content = (again.work / name).read_bytes() if name != "log.tsv" else None
        (again.work / name).write_bytes(b"damaged")
        again.train()
        assert content is None or (again.work / name).stat().st_size == len(content)
    assert again.model.read_bytes() == before[0]
    again.model.write_bytes(b"damaged")
    again.train()
    assert again.model.read_bytes() == before[0]


def test_the_files_of_a_training_are_listed(trained: Path) -> None:
    index = trained / "training/trained.tsv"
    assert is_whole(index)
    rows = {row["file"]: row for row in read_sealed(index)}
    assert set(rows) == {"model.pth", "best.ckpt", "log.tsv", "training.json"}
    assert all(row["sha256"] == sha256_file(index.with_name(name)) for name, row in rows.items())
    assert len({row["identity"] for row in rows.values()}) == 1
    assert not (trained / "training/last.ckpt").exists()


def test_the_patients_of_a_training_are_written_down(trained: Path) -> None:
    facts = read_facts(trained / "training/model.pth")
    assert facts is not None
    for split in ("train", "val"):
        rows = [row for row in read_table(trained / "data/ACDC/manifest.tsv") if row["split"] == split]
        assert facts["patients"][split] == sorted({row["patient"] for row in rows})
        assert facts["slices"][split] == len(rows) == 2
    taught = [row for row in read_table(trained / "data/ACDC/manifest.tsv") if row["split"] == "train"]
    assert facts["ranges"]["volumes"] == len({(row["patient"], row["frame"]) for row in taught})
    best = max(read_table(trained / "training/log.tsv"), key=lambda row: float(row["val_dice"]))
    assert facts["best_epoch"] == int(best["epoch"])
    images = {"encoder": "lite_medsam", "precision": "float32", "image_size": 64, "percentile": None}
    assert {key: facts[key] for key in images} == images


def test_the_identity_follows_the_assignment_and_the_budget(trained: Path, checkpoint: Path) -> None:
    data = trained / "data/ACDC"
    published = {row["patient"]: row["split"] for row in read_table(data / "manifest.tsv")}
    swapped = {patient: {"train": "val", "val": "train"}.get(split, split) for patient, split in published.items()}
    limited = Assignment(published, frozenset(patient for patient, split in published.items() if split == "train"))
    known = fit.training_identity(data, checkpoint, OPTIONS)
    assert fit.training_identity(data, checkpoint, OPTIONS, Assignment(published)) == known
    others = [
        fit.training_identity(data, checkpoint, OPTIONS, Assignment(swapped)),
        fit.training_identity(data, checkpoint, OPTIONS, limited),
        fit.training_identity(data, checkpoint, replace(OPTIONS, patients=1)),
    ]
    assert len({known, *others}) == 4


def test_validation_without_structures_is_refused_at_once(again: Trained, caplog: pytest.LogCaptureFixture) -> None:
    for mask in (again.data / "val/masks").glob("*.png"):
        empty = np.zeros_like(read_gray(mask))
        mask.unlink()
        write_png(mask, empty)
    again.remove_outputs()
    caplog.clear()
    with caplog.at_level(logging.INFO), pytest.raises(DatasetError, match="no slice of the split 'val' shows a struct"):
        again.train()
    assert "epoch 1" not in caplog.text


def test_a_structure_that_validation_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_lite_medsam().requires_grad_(False)
    task = FineTuning(model, model.prompt_encoder.get_dense_pe(), 1e-3, "a run")
    mask = torch.zeros(1, 256, 256, dtype=torch.uint8)
    mask[0, 100:150, 90:160] = LABELS["LV"]
    # The myocardium is so small that only the mask of 1024 pixels, which `present` is taken from, shows it.
    present = torch.tensor([[False, True, True]])
    boxes = torch.tensor([[[0.0, 0, 0, 0], [8, 8, 9, 9], [360, 400, 636, 596]]])
    logged = dict[str, float]()
    monkeypatch.setattr(task, "log", lambda name, value: logged.update({name: float(value)}))
    monkeypatch.setattr(task, "log_dict", lambda values: logged.update({k: float(v) for k, v in values.items()}))
    with torch.no_grad():
        task.validation_step(
            {"embedding": torch.randn(1, 256, 64, 64), "mask": mask, "present": present, "boxes": boxes}
        )
    task.on_validation_epoch_end()
    assert set(logged) == {"val_dice", "val_dice_LV", "val_box_dice_LV"}
    assert 0 <= logged["val_dice"] <= 1


def test_the_saved_model_is_that_of_the_best_epoch(trained: Path) -> None:
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


def test_segment_anything_loads_the_model_and_agrees(trained: Path) -> None:
    path = trained / "training/model.pth"
    empty = build_lite_medsam()
    sam = modeling.Sam(empty.image_encoder, empty.prompt_encoder, empty.mask_decoder)
    sam.load_state_dict(torch.load(path, weights_only=True), strict=True, assign=True)
    sam.image_encoder.img_size = 256
    embedding = torch.randn(256, 64, 64)
    encoding = sam.prompt_encoder.get_dense_pe().detach()
    with torch.no_grad():
        prompts = sam.prompt_encoder(points=None, boxes=None, masks=None)
        logits, _ = sam.mask_decoder(embedding[None], encoding, *prompts, multimask_output=True)
        masks = sam.postprocess_masks(logits, (256, 256), (1024, 1024))[0] > sam.mask_threshold
    ours = without_prompts(load_model("lite_medsam", path), encoding)({"embedding": embedding}) > 0
    # Ours assigns each pixel to one structure, so it may leave out pixels that two of SAM's masks share.
    assert torch.equal(ours.any(0), masks.any(0))
    assert not (ours & ~masks).any() and ours.sum(0).max() <= 1


def test_the_published_lite_medsam_loads_the_model(trained: Path) -> None:
    from reference import WHEEL, lite_medsam_model

    if not WHEEL.is_file():
        pytest.skip(f"{WHEEL.name} is not there; `make test` fetches it")
    lite_medsam_model().load_state_dict(torch.load(trained / "training/model.pth", weights_only=True), strict=True)


def test_the_checkpoint_is_found_by_the_fingerprint(trained: Path, checkpoint: Path, small: SmallDataset) -> None:
    data = trained / "data/ACDC"
    assert identify_encoder(data, checkpoint) == ("lite_medsam", "float32")
    other = small.output / "other.pth"
    other.write_bytes(b"other weights")
    assert find_checkpoint(data, [other, checkpoint]) == checkpoint
    with pytest.raises(CheckpointError, match=r"other.pth did not make the embeddings"):
        identify_encoder(data, other)
    with pytest.raises(CheckpointError, match="looked at no file in checkpoints/"):
        find_checkpoint(data, [])
    with pytest.raises(CheckpointError, match=r"gone.pth is missing"):
        identify_encoder(data, small.output / "gone.pth")


def test_a_command_says_what_is_wrong(
    small: SmallDataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small.output)
    assert main(["train", "nowhere"]) == 1
    assert capsys.readouterr().err == "Error: nowhere/manifest.tsv is missing: run the workflow again to make it\n"
    assert main(["train", "--epochs", "0"]) == 1
    assert "epochs and batch_size must be 1 or more" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        replace(OPTIONS, learning_rate=2)


def test_the_documented_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs/training.md").read_text()
    commands = re.findall(r"^acdc-medsam (train|evaluate) (.*)$", text, re.MULTILINE)
    assert len(commands) >= 2
    for name, options in commands:
        assert main([name, "--help"]) == 0
        known = capsys.readouterr().out
        assert all(option in known for option in re.findall(r"--[\w-]+", options))


def test_splits_by_patient_and_by_slice_are_compared(trained: Path, checkpoint: Path, tmp_path: Path) -> None:
    from leakage import UNITS, measure

    options = TrainOptions(epochs=1, batch_size=4)
    found = {unit: measure(trained / "data/ACDC", checkpoint, unit, 0.5, options, tmp_path) for unit in UNITS}
    assert found["patient"]["patients_on_both_sides"] == 0 < found["slice"]["patients_on_both_sides"]
    assert all(one["training_slices"] == one["validation_slices"] == 2 for one in found.values())
    assert all(0 <= one["val_dice"] <= 1 for one in found.values())
