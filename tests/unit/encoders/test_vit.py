"""The ViT encoders against segment_anything's own, with random weights."""

from functools import partial
from typing import cast

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend

from acdc_medsam.encoders import vit
from acdc_medsam.encoders.layers import compute_in
from acdc_medsam.encoders.sam import modeling
from reference import segment_anything_model


def random_weights(encoder: nn.Module) -> nn.Module:
    """Initialize the weights that segment_anything leaves at zero, which would hide a wrong bias."""
    for name, parameter in encoder.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.5)
    return encoder.eval().requires_grad_(False)


def small_encoder(size: int, window: int, width: int = 96) -> nn.Module:
    """Build segment_anything's encoder with two blocks, one with windows and one without, on (size, size) tokens."""
    torch.manual_seed(0)
    encoder = modeling.ImageEncoderViT(
        img_size=16 * size,
        embed_dim=width,
        depth=2,
        num_heads=2,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=window,
        global_attn_indexes=(1,),
    )
    return random_weights(encoder)


def relative_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("attention", [vit.blocked_attention, vit.folded_attention, vit.recorded_attention])
@pytest.mark.parametrize(
    ("size", "window", "width"),
    [
        pytest.param(16, 14, 96, id="one block of queries, windows that stick out"),
        pytest.param(24, 14, 96, id="a whole and a partial block of queries"),
        pytest.param(32, 8, 96, id="windows that fit"),
        pytest.param(24, 7, 160, id="heads of 80, as in ViT-H"),
    ],
)
def test_a_small_encoder_agrees_with_segment_anything(
    size: int, window: int, width: int, attention: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, ours = small_encoder(size, window, width), small_encoder(size, window, width)
    vit.replace_layers(ours)
    ours.load_state_dict(original.state_dict(), strict=True)
    monkeypatch.setattr(vit, "blocked_attention", attention)
    images = torch.randn(2, 3, 16 * size, 16 * size)
    with torch.inference_mode():
        assert relative_difference(ours(images), original(images)) < 5e-6


def test_where_no_fused_kernel_works_attention_is_computed_in_blocks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vit, "REFUSED", set())
    q, k, v = torch.randn(3, 1, 2, 64, 16)
    row_bias, column_bias = torch.randn(2, 1, 2, 64, 8)
    expected = vit.blocked_attention(q, k, v, row_bias, column_bias)
    # A CPU's fused kernel wants values as long as the keys.
    for _ in range(2):
        torch.testing.assert_close(vit.fused_attention(q, k, v, row_bias, column_bias), expected)
    assert caplog.messages == [
        "cpu, torch.float32: no fused attention kernel; attention is computed in blocks, which is slower"
    ], "said once"

    monkeypatch.setattr(vit, "REFUSED", set())
    monkeypatch.setattr(vit, "FUSED", [SDPBackend.MATH])
    torch.testing.assert_close(vit.fused_attention(q, k, v, row_bias, column_bias), expected)
    assert not vit.REFUSED, "a kernel that takes the tensors is used"


def test_other_errors_of_a_kernel_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vit, "FUSED", [SDPBackend.MATH])
    q = torch.randn(1, 2, 64, 16)
    with pytest.raises(RuntimeError, match=r"size|shape"):
        vit.fused_attention(q, q, q[:, :, :3], torch.randn(1, 2, 64, 8), torch.randn(1, 2, 64, 8))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("attention", [vit.blocked_attention, vit.folded_attention])
def test_lower_precisions_are_close(precision: torch.dtype, attention: object, monkeypatch: pytest.MonkeyPatch) -> None:
    original, ours = small_encoder(24, 14), small_encoder(24, 14)
    vit.replace_layers(ours)
    ours.load_state_dict(original.state_dict(), strict=True)
    compute_in(ours, precision)
    monkeypatch.setattr(vit, "blocked_attention", attention)
    images = torch.randn(1, 3, 384, 384)
    with torch.inference_mode():
        difference = relative_difference(ours.eval()(images), original(images))
    assert 1e-5 < difference < (0.02 if precision == torch.bfloat16 else 0.003)


def test_vit_b_agrees_with_segment_anything() -> None:
    torch.manual_seed(0)
    original, ours = segment_anything_model("vit_b"), vit.build_sam("vit_b")
    ours.load_state_dict(original.state_dict(), strict=True, assign=True)
    encoders = [cast(nn.Module, model.eval().image_encoder) for model in (ours, original)]
    for encoder in encoders:
        # A block with windows and one without; the other ten are their like.
        encoder.blocks = cast(nn.ModuleList, encoder.blocks)[1:3]
    images = torch.rand(1, 1, 1024, 1024).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        actual, expected = (encoder(images) for encoder in encoders)
    assert actual.shape == (1, 256, 64, 64)
    assert relative_difference(actual, expected) < 5e-6


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h"])
def test_weights_have_the_names_and_shapes_of_segment_anything(size: str) -> None:
    with torch.device("meta"):
        original = segment_anything_model(size)
    ours = vit.build_sam(size)
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in original.state_dict().items()}
    assert all(tensor.is_meta for tensor in ours.image_encoder.state_dict().values())


def test_relative_table_is_indexed_by_distance() -> None:
    table = vit.relative_table(torch.arange(5.0)[:, None], 3)[..., 0]
    assert table.tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]


def test_full_bias_goes_through_rows_first() -> None:
    bias = vit.full_bias(torch.tensor([[10.0, 20.0]]), torch.tensor([[1.0, 2.0, 3.0]]))
    assert bias.tolist() == [[11, 12, 13, 21, 22, 23]]
