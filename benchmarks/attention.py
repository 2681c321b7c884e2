"""Compare ways to compute the ViT's attention with its relative position bias, on the random tokens of one layer.

    python benchmarks/attention.py --threads 1
    python benchmarks/attention.py --device cuda --precision bfloat16 --batch 8

This project uses ``blocked`` on a CPU and ``folded`` on other devices. ``whole bias`` gives torch's fused attention a
bias for each pair of tokens, which takes 800 MB per layer and image. ``flex`` is FlexAttention, compiled on first use.
"""

import argparse
import json
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from acdc_medsam.encoders.devices import keep_freed_memory
from acdc_medsam.encoders.vit import blocked_attention, folded_attention, full_bias
from encoder import time_work

LAYERS = {"all tokens": (1, 64), "windows": (25, 14)}
"""For each kind of layer, the number of token grids in an image of 1024 x 1024, and of tokens along a grid's side."""


def whole_bias(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """Compute fused attention with a bias of N x N."""
    bias = full_bias(row_bias, column_bias).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)


def flex(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, column_bias: Tensor, *, compiled: bool = True) -> Tensor:
    """Compute attention with FlexAttention, which derives the bias of a pair of tokens when it needs it."""
    from torch.nn.attention.flex_attention import flex_attention

    columns = column_bias.shape[-1]

    def with_bias(score: Tensor, image: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + row_bias[image, head, query, key // columns] + column_bias[image, head, query, key % columns]

    attend = torch.compile(flex_attention) if compiled else flex_attention
    return attend(q, k, v, score_mod=with_bias).transpose(1, 2)


WAYS: dict[str, Callable[..., Tensor]] = {
    "blocked": blocked_attention,
    "folded": folded_attention,
    "whole bias": whole_bias,
    "flex": flex,
}


def make_tokens(grids: int, side: int, heads: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Make queries, keys and values as views of one linear layer's output, and the two terms of the bias."""
    torch.manual_seed(0)
    qkv = torch.randn(grids, side * side, 3, heads, 64, device=device).to(dtype)
    bias = torch.randn(2, grids, heads, side * side, side, device=device)
    return *qkv.permute(2, 0, 3, 1, 4).unbind(), *bias.unbind()


def compare(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Time each way with each kind of layer, and compare its result with that of the first way in float32."""
    dtype = getattr(torch, options.precision)
    for layer, (grids, side) in LAYERS.items():
        shape = (options.batch * grids, side, options.heads)
        exact = blocked_attention(*make_tokens(*shape, torch.float32, options.device))
        for way in options.ways:
            inputs = make_tokens(*shape, dtype, options.device)
            # The first call, which may compile, is not timed.
            result = WAYS[way](*inputs)
            error = (result.float() - exact).abs().max() / exact.abs().max()
            seconds = min(time_work(lambda: WAYS[way](*inputs), options.device) for _ in range(options.repeat))  # noqa: B023
            yield {
                "layer": layer,
                "way": way,
                "seconds_per_image": seconds / options.batch,
                "relative_difference": error.item(),
            }


def main() -> None:
    """Read the command line, compare, print one JSON object per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--heads", type=int, default=12, help="12 in ViT-B, 16 in ViT-L and ViT-H")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS))
    options = parser.parse_args()
    # FlexAttention is made for GPUs.
    options.ways = options.ways or [way for way in WAYS if way != "flex" or options.device.type == "cuda"]
    torch.set_num_threads(options.threads)
    if options.device.type == "cpu":
        keep_freed_memory()
    with torch.inference_mode():
        for row in compare(options):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
