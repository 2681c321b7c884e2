import os
import pickle
import re
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_medsam.cli import main
from acdc_medsam.encoders import checkpoint_file, load_model
from acdc_medsam.encoders.checkpoint import ARCHITECTURES, check_fit
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import CheckpointError

Weights = dict[str, torch.Tensor]
PUBLISHED = re.escape(ENCODERS["lite_medsam"].published_at)


@pytest.fixture
def weights() -> Weights:
    """Weights with LiteMedSAM's names and shapes, all with the value 1, so that their file is small."""
    expected = ARCHITECTURES["lite_medsam"]().state_dict()
    return {name: torch.ones((), dtype=value.dtype).expand(value.shape) for name, value in expected.items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def refusal(file: Path, name: str = "lite_medsam", expected_sha256: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(name, file, expected_sha256)
    assert str(caught.value).startswith(str(file))
    return str(caught.value)


def test_a_loaded_model_is_ready(weights: Weights, file: Path) -> None:
    torch.save(weights, file)
    model = load_model("lite_medsam", file, sha256(file.read_bytes()).hexdigest().upper())
    assert not model.training
    for tensor in [*model.parameters(), *model.buffers()]:
        assert not tensor.is_meta and not tensor.requires_grad and (tensor == 1).all()


def test_buffers_that_no_checkpoint_holds_are_filled(file: Path) -> None:
    expected = ARCHITECTURES["sam_vit_b"]().state_dict()
    torch.save({name: torch.ones(()).expand(value.shape) for name, value in expected.items()}, file)
    assert not any(tensor.is_meta for tensor in load_model("medsam_vit_b", file).buffers())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"model": weights},
        lambda weights: {"model": weights, "optimizer": {"lr": 0.1}, "epoch": 3},
        lambda weights: {"state_dict": weights},
        lambda weights: {name: value.half() if value.is_floating_point() else value for name, value in weights.items()},
    ],
    ids=["model", "model and more", "state_dict", "half precision"],
)
def test_other_ways_of_saving_are_accepted(wrap: Callable[[Weights], Any], weights: Weights, file: Path) -> None:
    torch.save(wrap(weights), file)
    model = load_model("lite_medsam", file)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_format_of_old_torch_is_accepted(weights: Weights, file: Path) -> None:
    torch.save(weights, file, _use_new_zipfile_serialization=False)
    load_model("lite_medsam", file)


def test_an_unknown_encoder_is_a_key_error(file: Path) -> None:
    with pytest.raises(KeyError, match="vit_x"):
        load_model("vit_x", file)


def test_a_missing_file(file: Path) -> None:
    assert re.search(f"is missing: .*{PUBLISHED}.*encoder.checkpoint", refusal(file))


def test_a_folder(tmp_path: Path) -> None:
    assert "is not a file" in refusal(tmp_path)


def test_another_file_than_configured(weights: Weights, file: Path) -> None:
    torch.save(weights, file)
    message = refusal(file, expected_sha256="0" * 64)
    assert sha256(file.read_bytes()).hexdigest() in message and "0" * 64 in message and "encoder.sha256" in message


def test_a_file_that_cannot_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    file.touch()
    monkeypatch.setattr(checkpoint_file, "sha256_file", denied)
    assert "cannot be read: Permission denied" in refusal(file, expected_sha256="0" * 64)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_not_run(zipped: bool, file: Path, tmp_path: Path) -> None:
    torch.save({"weight": Malicious(tmp_path / "harm")}, file, _use_new_zipfile_serialization=zipped)
    message = refusal(file)
    assert re.search(r"holds more than weights \(\w+\.mkdir\), which could run any code, and was not loaded", message)
    assert not (tmp_path / "harm").exists()


def test_a_bare_pickle_is_not_run(file: Path, tmp_path: Path) -> None:
    file.write_bytes(pickle.dumps(Malicious(tmp_path / "harm"), protocol=2))
    assert "was not loaded" in refusal(file)
    assert not (tmp_path / "harm").exists()


def test_a_whole_model_is_not_loaded(file: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), file)
    assert re.search(r"torch\.nn\.modules\.linear\.Linear.*save the state_dict\(\)", refusal(file))


@pytest.mark.parametrize("content", [b"", b"hello\n", b"<!DOCTYPE html><html>Sign in</html>"])
def test_a_file_of_another_kind(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    assert re.search(f"is not a checkpoint, or a damaged one; .*{PUBLISHED}", refusal(file))


def test_a_file_cut_short(weights: Weights, file: Path) -> None:
    torch.save(weights, file)
    os.truncate(file, 5000)
    assert "is cut short: only 5000 bytes are there" in refusal(file)


@pytest.mark.parametrize(("content", "kind"), [([torch.ones(2)], "list"), (torch.ones(2), "Tensor"), ({}, "dict")])
def test_a_file_without_a_state_dict(content: object, kind: str, file: Path) -> None:
    torch.save(content, file)
    assert f"holds no state_dict but {kind}" in refusal(file)


@pytest.mark.parametrize("content", [{"epoch": 3}, {"model": {"epoch": 3}}])
def test_a_state_dict_with_other_things(content: object, file: Path) -> None:
    torch.save(content, file)
    assert "holds other things than weights: epoch;" in refusal(file)


def test_weights_that_do_not_fit_are_named(weights: Weights, file: Path) -> None:
    for name in [name for name in weights if name.startswith("image_encoder.neck.")]:
        weights["module." + name] = weights.pop(name)
    weights["image_encoder.patch_embed.seq.0.c.weight"] = torch.ones(32, 3, 3, 3)
    torch.save(weights, file)
    message = refusal(file)
    assert "does not fit lite_medsam" in message and "fits no other encoder" in message
    assert (
        "6 weights missing: image_encoder.neck.0.weight, image_encoder.neck.1.weight, "
        "image_encoder.neck.1.bias and 3 more; 6 weights not expected: module.image_encoder.neck.0.weight, "
    ) in message
    assert (
        "1 weights of another shape or type: "
        "image_encoder.patch_embed.seq.0.c.weight (32, 3, 3, 3) instead of (32, 3, 1, 1)"
    ) in message


def test_the_file_of_another_encoder_is_recognized(weights: Weights, file: Path) -> None:
    torch.save(weights, file)
    assert "the file fits lite_medsam: is encoder.name meant to be that?" in refusal(file, name="sam_vit_b")


def test_weights_that_fit_two_encoders(file: Path) -> None:
    small, large = ARCHITECTURES["sam_vit_b"](), ARCHITECTURES["sam_vit_l"]()
    with pytest.raises(CheckpointError, match="the file fits medsam_vit_b and sam_vit_b"):
        check_fit(large, small.state_dict(), file, ENCODERS["sam_vit_l"])


def test_a_tensor_larger_than_its_file_is_refused_by_its_shape(weights: Weights, file: Path) -> None:
    huge = torch.ones((), dtype=torch.float16).expand(10**6, 10**6)
    torch.save({**weights, "image_encoder.patch_embed.seq.0.c.weight": huge}, file)
    assert "image_encoder.patch_embed.seq.0.c.weight (1000000, 1000000) instead of (32, 3, 1, 1)" in refusal(file)


def test_compressed_weights_are_not_expanded(weights: Weights, file: Path) -> None:
    torch.save(weights, file)
    with zipfile.ZipFile(file) as plain, zipfile.ZipFile(file.with_name("bomb.pth"), "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in plain.namelist():
            bomb.writestr(entry, plain.read(entry))
    assert "holds compressed data" in refusal(file.with_name("bomb.pth"))


def test_a_sparse_tensor_is_refused(weights: Weights, file: Path) -> None:
    weights["image_encoder.patch_embed.seq.0.c.weight"] = torch.zeros(32, 3, 1, 1).to_sparse()
    torch.save(weights, file)
    assert "image_encoder.patch_embed.seq.0.c.weight" in refusal(file)


def test_the_command_line_checks_weights(weights: Weights, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(weights, file)
    assert main(["weights", "lite_medsam", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: the weights of lite_medsam\n"
    assert main(["weights", "lite_medsam", str(file), "--sha256", "0" * 64]) == 1
    assert "is not the file that is configured" in capsys.readouterr().out
