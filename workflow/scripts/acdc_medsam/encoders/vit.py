"""SAM with its ViT image encoder: segment_anything's modules, with an attention of our own.

segment_anything's attention holds the scores of all 4096 x 4096 pairs of tokens for all heads, and copies of the
same size for the relative position bias. Here they exist for one block of queries at a time. Names and shapes of the
weights are segment_anything's, and so are the numbers but for rounding.

Sources: A. Kirillov et al., "Segment Anything", ICCV 2023; Y. Li et al., "MViTv2", CVPR 2022, for the bias.
"""

import importlib
import importlib.util
import sys
from itertools import product
from types import ModuleType
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUERY_BLOCK = 512
"""Queries that are compared with all keys at once: with 4096 keys 8 MB of scores, which stay in cache."""


def _import_parts() -> tuple[ModuleType, ModuleType]:
    """Import ``build_sam`` and ``modeling`` of segment_anything without running the package's ``__init__``.

    That one imports torchvision, which nothing here needs and which fits one release of torch only.
    """
    name = "segment_anything"
    absent = name not in sys.modules
    if absent:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError("segment_anything is missing: pip install segment-anything", name=name)
        sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(f"{name}.build_sam"), importlib.import_module(f"{name}.modeling")
    finally:
        if absent:
            # Whoever imports the package afterwards gets the real one.
            del sys.modules[name]


_build_sam, modeling = _import_parts()
LayerNorm2d = modeling.image_encoder.LayerNorm2d


def build_sam(size: str) -> nn.Module:
    """Build SAM on the meta device: names and shapes, but no memory and no time for initial values.

    Args:
        size: ``vit_b``, ``vit_l`` or ``vit_h``.

    Returns:
        ``Sam`` with ``image_encoder``, (B, 3, 1024, 1024) -> (B, 256, 64, 64), ``prompt_encoder`` and
        ``mask_decoder``; to be filled by ``load_state_dict(..., assign=True)``.
    """
    with torch.device("meta"):
        sam = _build_sam.sam_model_registry[size]()
        replace_layers(sam.image_encoder)
    return cast(nn.Module, sam)


def replace_layers(encoder: Any) -> None:
    """Give an ``ImageEncoderViT`` the attention of this module, and its 1 x 1 convolution; the weights are lost."""
    for block in encoder.blocks:
        heads, width = block.attn.num_heads, block.attn.proj.in_features
        size = [(len(table) + 1) // 2 for table in (block.attn.rel_pos_h, block.attn.rel_pos_w)]
        block.attn = RelativePositionAttention(width, heads, (size[0], size[1]))
    encoder.neck[0] = PointwiseConv2d(encoder.neck[0].in_channels, encoder.neck[0].out_channels)


class PointwiseConv2d(nn.Module):
    """A 1 x 1 convolution without bias as a matrix product.

    torch chooses among algorithms for a 1 x 1 convolution by the number of threads, and they round differently.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1)).permute(0, 3, 1, 2)


class RelativePositionAttention(nn.Module):
    """Attention on a grid of tokens with a relative position bias, the sum of a row term and a column term.

    The bias of query i and key j is ``q_i . rel_pos_h[row_i - row_j] + q_i . rel_pos_w[column_i - column_j]``.
    """

    def __init__(self, width: int, heads: int, size: tuple[int, int]) -> None:
        """Make attention among ``size`` = (rows, columns) tokens of ``width`` numbers."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size[0] - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size[1] - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, width) -> the same shape; B counts images or windows."""
        batch, rows, columns, width = x.shape
        qkv = self.qkv(x).view(batch, rows * columns, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        grid = q.unflatten(2, (rows, columns))
        row_bias = torch.einsum("bnhwc,hkc->bnhwk", grid, relative_table(self.rel_pos_h, rows)).flatten(2, 3)
        column_bias = torch.einsum("bnhwc,wkc->bnhwk", grid, relative_table(self.rel_pos_w, columns)).flatten(2, 3)
        attention = blocked_attention if x.device.type == "cpu" else folded_attention
        mixed = attention(q, k, v, row_bias, column_bias)
        output: Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return output


def relative_table(rel_pos: Tensor, size: int) -> Tensor:
    """(2 size - 1, C) by distance -> (size, size, C) by query and key position along one axis."""
    position = torch.arange(size, device=rel_pos.device)
    return rel_pos[position[:, None] - position + size - 1]


def full_bias(row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """(..., N, H) and (..., N, W) -> (..., N, H * W)."""
    return (row_bias.unsqueeze(-1) + column_bias.unsqueeze(-2)).flatten(-2)


def blocked_attention(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """Attention in blocks of queries, for a processor with caches.

    Args:
        q: queries (B, heads, N, c) of N = H * W tokens.
        k: keys, the same shape.
        v: values, the same shape.
        row_bias: (B, heads, N, H), added to the scores of all keys of a row.
        column_bias: (B, heads, N, W), added to the scores of all keys of a column.

    Returns:
        (B, heads, N, c).
    """
    batch, heads, tokens, channels = q.shape
    if tokens <= QUERY_BLOCK:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=full_bias(row_bias, column_bias))
    mixed = torch.empty_like(q)
    for image, head in product(range(batch), range(heads)):
        keys, values = k[image, head].T, v[image, head]
        for start in range(0, tokens, QUERY_BLOCK):
            block = (image, head, slice(start, start + QUERY_BLOCK))
            scores = full_bias(row_bias[block], column_bias[block]).addmm_(q[block], keys, alpha=channels**-0.5)
            mixed[block] = scores.softmax(-1).to(values.dtype) @ values
    return mixed


def folded_attention(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """Attention as one fused product, for devices whose kernels never hold the scores.

    The bias becomes part of the dot product: each query is prolonged by its two bias vectors, each key by ones at
    its row and its column and zeros elsewhere. Arguments and result are those of :func:`blocked_attention`.
    """
    rows, columns = row_bias.shape[-1], column_bias.shape[-1]
    row_of_key = torch.eye(rows, dtype=k.dtype, device=k.device).repeat_interleave(columns, dim=0)
    column_of_key = torch.eye(columns, dtype=k.dtype, device=k.device).repeat(rows, 1)
    position = torch.cat([row_of_key, column_of_key], dim=-1).expand(*k.shape[:3], -1)
    queries = torch.cat([q * q.shape[-1] ** -0.5, row_bias, column_bias], dim=-1)
    keys = torch.cat([k, position], dim=-1)
    # Fused kernels want lengths that are multiples of 8; zeros do not change a dot product.
    queries, keys = (F.pad(part, (0, -part.shape[-1] % 8)) for part in (queries, keys))
    return F.scaled_dot_product_attention(queries, keys, v, scale=1.0)
