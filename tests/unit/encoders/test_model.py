import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from acdc_medsam.encoders import make_encoder, prepare_images, registry
from acdc_medsam.encoders.layers import Linear
from acdc_medsam.encoders.model import computing_in
from acdc_medsam.encoders.registry import ENCODERS, PRECISIONS, EncoderSpec, fingerprint
from acdc_medsam.errors import AcdcError, ConfigError

PAIR = EncoderSpec("pair", 2, "min_max", "pair.pth", "nowhere", "nowhere")
PHOTO = EncoderSpec("photo", 2, "sam", "photo.pth", "nowhere", "nowhere")


def images(*pixels: list[list[int]]) -> torch.Tensor:
    return torch.tensor(pixels, dtype=torch.uint8)


def after_import(module: str) -> set[str]:
    code = f"import sys, acdc_medsam.encoders.{module}; print(*sys.modules)"
    paths = [path for path in sys.path if path]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_the_registry_needs_no_torch() -> None:
    assert "torch" not in after_import("registry")


def test_encoders_need_no_torchvision_and_leave_it_to_others() -> None:
    loaded = after_import("vit")
    assert "segment_anything.modeling" in loaded
    assert not {"segment_anything", "torchvision", "timm"} & loaded


def test_building_a_model_imports_no_compiler() -> None:
    assert "torch._dynamo" not in after_import("tiny_vit; acdc_medsam.encoders.tiny_vit.build_lite_medsam()")
    assert "torch._dynamo" not in after_import("vit; acdc_medsam.encoders.vit.build_sam('vit_b')")


def test_the_fingerprint_depends_on_every_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = {
        fingerprint("sam_vit_b", "aa", "float32", "cpu"),
        fingerprint("medsam_vit_b", "aa", "float32", "cpu"),
        fingerprint("sam_vit_b", "ab", "float32", "cpu"),
        fingerprint("sam_vit_b", "aa", "bfloat16", "cpu"),
        fingerprint("sam_vit_b", "aa", "float32", "cuda"),
    }
    monkeypatch.setattr(registry, "NUMERICS_VERSION", registry.NUMERICS_VERSION + 1)
    prints.add(fingerprint("sam_vit_b", "aa", "float32", "cpu"))
    assert len(prints) == 6 and all(len(bytes.fromhex(each)) == 32 for each in prints)


def test_the_fingerprint_ignores_the_case_of_a_checksum() -> None:
    assert fingerprint("sam_vit_b", "AB", "tf32", "cuda") == fingerprint("sam_vit_b", "ab", "tf32", "cuda")


@pytest.mark.parametrize("spec", ENCODERS.values(), ids=lambda spec: spec.name)
def test_published_checksums_are_checksums(spec: EncoderSpec) -> None:
    assert ENCODERS[spec.name] is spec
    assert spec.sha256 is None or len(bytes.fromhex(spec.sha256)) == 32


def test_min_max_stretches_each_image() -> None:
    prepared = prepare_images(images([[10, 20], [30, 60]], [[255, 0], [51, 102]]), PAIR)
    expected = torch.tensor([[[0.0, 0.2], [0.4, 1.0]], [[1.0, 0.0], [0.2, 0.4]]])
    assert prepared.shape == (2, 3, 2, 2) and prepared.dtype == torch.float32
    for channel in range(3):
        torch.testing.assert_close(prepared[:, channel], expected)


def test_an_image_of_one_gray_value_is_zero() -> None:
    assert torch.equal(prepare_images(images([[7, 7], [7, 7]]), PAIR), torch.zeros(1, 3, 2, 2))


def test_min_max_comes_after_resizing() -> None:
    # The four quarters have the means 10, 20, 30 and 60; single pixels reach from 0 to 120.
    image = images([[0, 20, 20, 20], [10, 10, 20, 20], [30, 30, 0, 120], [30, 30, 60, 60]])
    expected = torch.tensor([[0.0, 0.2], [0.4, 1.0]])
    torch.testing.assert_close(prepare_images(image, PAIR)[0, 0], expected)


def test_sam_takes_mean_and_deviation_of_each_color() -> None:
    prepared = prepare_images(images([[0, 255], [100, 100]]), PHOTO)
    black, white = prepared[0, :, 0, 0], prepared[0, :, 0, 1]
    torch.testing.assert_close(black, torch.tensor([-123.675 / 58.395, -116.28 / 57.12, -103.53 / 57.375]))
    torch.testing.assert_close(white, torch.tensor([131.325 / 58.395, 138.72 / 57.12, 151.47 / 57.375]))


@pytest.mark.parametrize(("shape", "size"), [((50, 50), 32), ((20, 20), 32), ((60, 41), 16), ((64, 24), 32)])
def test_other_sizes_are_resized_as_pillow_does(shape: tuple[int, int], size: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    spec = EncoderSpec("any", size, "sam", "any.pth", "nowhere", "nowhere")
    prepared = prepare_images(torch.from_numpy(pixels[None]), spec)[0, 0] * 58.395 + 123.675
    pillow = Image.fromarray(pixels.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(prepared, np.asarray(pillow), atol=1e-3)


def test_a_rendered_image_is_averaged_over_whole_blocks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024), dtype=np.uint8)
    prepared = prepare_images(torch.from_numpy(pixels[None]), ENCODERS["lite_medsam"])
    means = pixels.reshape(256, 4, 256, 4).mean((1, 3))
    expected = (means - means.min()) / (means.max() - means.min())
    np.testing.assert_allclose(prepared[0, 1], expected, atol=1e-6)


@pytest.mark.parametrize("wrong", [torch.zeros(1, 2, 2), torch.zeros(2, 2, dtype=torch.uint8)])
def test_only_gray_bytes_are_accepted(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, H, W\) uint8"):
        prepare_images(wrong, PAIR)


class Pixelwise(nn.Module):
    """A linear layer for each pixel, after a normalization that stays float32."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(3)
        self.linear = Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.linear(self.norm(x.movedim(1, -1))).movedim(-1, 1)
        return output


class Model(nn.Module):
    """Something with an image encoder."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image_encoder = Pixelwise().requires_grad_(False)


CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_embeddings_are_float32_at_any_precision(precision: str) -> None:
    pixels = torch.randint(0, 256, (3, 2, 2), dtype=torch.uint8)
    # SAM's normalization, because LayerNorm would turn the three equal channels of the other one into zeros.
    embeddings = make_encoder(Model(), PHOTO, precision, CPU).encode(pixels)
    assert embeddings.dtype == torch.float32 and embeddings.is_contiguous() and embeddings.shape == (3, 4, 2, 2)
    with torch.no_grad():
        exact = Model().image_encoder(prepare_images(pixels, PHOTO))
    difference = (embeddings - exact).abs().max()
    assert 1e-5 < difference < 0.02 if precision in ("bfloat16", "float16") else difference < 1e-6


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_weights_that_do_not_fit_are_an_error_for_users(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(module: nn.Module, device: torch.device) -> nn.Module:
        raise error("CUDA error: out of memory")

    monkeypatch.setattr(Pixelwise, "to", fail)
    with pytest.raises(AcdcError, match="not enough memory on cuda:0 for the weights of pair: stop other programs"):
        make_encoder(Model(), PAIR, "float32", torch.device("cuda", 0))


def test_other_errors_of_moving_weights_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(module: nn.Module, device: torch.device) -> nn.Module:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(Pixelwise, "to", fail)
    with pytest.raises(RuntimeError, match="no kernel image"):
        make_encoder(Model(), PAIR, "float32", torch.device("cuda", 0))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.precision: 'int8' is none of float32, tf32, bfloat16, float16"):
        make_encoder(Model(), PAIR, "int8", CPU)


@pytest.mark.parametrize(("precision", "matmul"), [("float32", "highest"), ("tf32", "high"), ("bfloat16", "high")])
def test_tf32_is_used_unless_float32_is_asked_for(precision: str, matmul: str) -> None:
    def settings() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = settings()
    with pytest.raises(KeyError), computing_in(precision, torch.device("cuda")):
        assert settings() == (matmul, precision != "float32")
        raise KeyError
    assert settings() == before
