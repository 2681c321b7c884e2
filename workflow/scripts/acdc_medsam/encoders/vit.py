"""SAM with its ViT image encoder: segment_anything's modules with new transformer blocks.

segment_anything's attention stores the scores of all 4096 x 4096 pairs of tokens for all heads, and arrays of the same
size for the relative position bias. Here these exist for one block of queries at a time. The weights have the names and
shapes of segment_anything, and the results agree with it except for rounding.

Sources: A. Kirillov et al., "Segment Anything", ICCV 2023; Y. Li et al., "MViTv2", CVPR 2022, for the bias.
"""

import logging
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from acdc_medsam.encoders.layers import Linear, PointwiseConv2d, in_strips
from acdc_medsam.encoders.sam import PromptedModel, modeling, window_partition, window_unpartition

logger = logging.getLogger(__name__)

IMAGE_SIZE = 1024

QUERY_BLOCK = 256
"""Number of queries that are compared with all keys at a time on a CPU."""

FUSED = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
"""Kernels of PyTorch that never store the scores."""

SCORES = 2**20
"""Number of scores of queries and keys that are computed at a time on a CPU: 4 MB, which stay in cache."""

MLP_ROWS = 8
"""Number of rows of tokens whose widened features are computed at a time on a CPU."""

SIZES = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}
"""Name of each size -> width, number of blocks, number of heads, and indices of the blocks with attention among all
tokens, as in segment_anything's ``build_sam``."""


def build_sam(size: str) -> PromptedModel:
    """Build SAM on the meta device, without memory or time for initial weights.

    Args:
        size: ``vit_b``, ``vit_l`` or ``vit_h``.

    Returns:
        A model with ``image_encoder``, (B, 3, 1024, 1024) -> (B, 256, 64, 64), ``prompt_encoder`` and
        ``mask_decoder``; ``load_state_dict(..., assign=True)`` fills in the weights.
    """
    width, depth, heads, among_all = SIZES[size]
    with torch.device("meta"):
        encoder = modeling.ImageEncoderViT(
            img_size=IMAGE_SIZE,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=among_all,
        )
        replace_layers(encoder)
        return PromptedModel(encoder, IMAGE_SIZE)


def replace_layers(encoder: Any) -> None:
    """Replace the blocks and the 1 x 1 convolution of an ``ImageEncoderViT`` by ours; their weights are lost."""
    for index, block in enumerate(encoder.blocks):
        encoder.blocks[index] = Block(
            width=block.attn.proj.in_features,
            hidden=block.mlp.lin1.out_features,
            heads=block.attn.num_heads,
            side=(len(block.attn.rel_pos_h) + 1) // 2,
            window=block.window_size,
        )
    encoder.neck[0] = PointwiseConv2d(encoder.neck[0].in_channels, encoder.neck[0].out_channels)


class Block(nn.Module):
    """Transformer block: attention among all tokens or within windows, and an MLP, each with a residual connection."""

    def __init__(self, width: int, hidden: int, heads: int, side: int, window: int) -> None:
        """Make a block.

        Args:
            width: Number of channels of a token.
            hidden: Number of channels within the MLP.
            heads: Number of attention heads.
            side: Number of rows, and of columns, of tokens that attend to each other.
            window: The same number, or 0 for attention among all tokens.
        """
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = RelativePositionAttention(width, heads, side)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, width) float32 to the same shape."""
        normed = self.norm1(x)
        if self.window:
            x = x + in_strips(self.attend_in_windows, normed, self.window)
        else:
            x = x + self.attn.proj(self.attn(normed))
        return in_strips(lambda rows: rows + self.mlp(self.norm2(rows)), x, MLP_ROWS)

    def attend_in_windows(self, x: Tensor) -> Tensor:
        """Map (B, H, W, width) to the same shape. Windows beyond the edge are padded with zeros, which take part."""
        windows, padded = window_partition(x, self.window)  # (B * windows, window, window, width)
        # Padding is dropped before proj, which would compute it for nothing.
        mixed = window_unpartition(self.attn(windows), self.window, padded, x.shape[1:3])
        attended: Tensor = self.attn.proj(mixed)
        return attended


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = Linear(width, hidden)
        self.lin2 = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        output: Tensor = self.lin2(F.gelu(self.lin1(x)))
        return output


class RelativePositionAttention(nn.Module):
    """Attention on a grid of tokens with a relative position bias, the sum of a row term and a column term.

    The bias of query i and key j is ``q_i . rel_pos_h[row_i - row_j] + q_i . rel_pos_w[column_i - column_j]``.
    The caller applies ``proj``, after dropping the tokens beyond the edge of the image.
    """

    def __init__(self, width: int, heads: int, side: int) -> None:
        """Make attention among ``side`` x ``side`` tokens of ``width`` channels."""
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, width), with B images or windows, to the same shape, without applying ``proj``."""
        batch, rows, columns, width = x.shape

        qkv = self.qkv(x).view(batch, rows * columns, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # (B, heads, H * W, channels) each

        grid = q.unflatten(2, (rows, columns)).float()  # (B, heads, H, W, channels)
        row_bias = torch.einsum("bnhwc,hkc->bnhwk", grid, relative_table(self.rel_pos_h, rows)).flatten(2, 3)
        column_bias = torch.einsum("bnhwc,wkc->bnhwk", grid, relative_table(self.rel_pos_w, columns)).flatten(2, 3)

        if torch.compiler.is_compiling():
            attention = recorded_attention
        else:
            attention = blocked_attention if x.device.type == "cpu" else fused_attention
        return attention(q, k, v, row_bias, column_bias).view(x.shape)


def relative_table(rel_pos: Tensor, size: int) -> Tensor:
    """Expand (2 size - 1, C) by distance to (size, size, C) by query and key position along one axis."""
    position = torch.arange(size, device=rel_pos.device)
    return rel_pos[position[:, None] - position + size - 1]


def full_bias(row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """Combine (..., N, H) and (..., N, W) to (..., N, H * W)."""
    return (row_bias.unsqueeze(-1) + column_bias.unsqueeze(-2)).flatten(-2)


def blocked_attention(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """Compute attention for a block of queries, and as many heads as fit into a CPU's cache, at a time.

    Args:
        q: Queries (B, heads, N, c) of N = H * W tokens.
        k: Keys of the same shape.
        v: Values of the same shape.
        row_bias: Bias (B, heads, N, H) float32, added to the scores of all keys of a row.
        column_bias: Bias (B, heads, N, W) float32, added to the scores of all keys of a column.

    Returns:
        Mixed values (B, N, heads, c) of the same type as ``v``; scores and softmax are float32.
    """
    batch, heads, tokens, channels = q.shape
    # All blocks of queries read the keys and values, and would each have them copied.
    k = k.contiguous()
    v = v.contiguous()
    mixed = q.new_empty(batch, tokens, heads, channels)
    heads_at_once = max(1, SCORES // (tokens * min(tokens, QUERY_BLOCK)))

    for image, first, start in product(range(batch), range(0, heads, heads_at_once), range(0, tokens, QUERY_BLOCK)):
        group = slice(first, first + heads_at_once)
        block = slice(start, start + QUERY_BLOCK)
        scores = full_bias(row_bias[image, group, block], column_bias[image, group, block])
        queries = q[image, group, block]
        keys = k[image, group].mT
        if q.dtype == scores.dtype:
            # The product is added while it is computed, which takes a tenth less time than a sum afterwards.
            torch.baddbmm(scores, queries, keys, alpha=channels**-0.5, out=scores)
        else:
            scores.add_(queries @ keys, alpha=channels**-0.5)
        weights = torch.softmax(scores, -1, out=scores).to(v.dtype)
        mixed[image, block, group] = (weights @ v[image, group]).transpose(0, 1)
    return mixed


def recorded_attention(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """Compute :func:`blocked_attention` in a form for graphs: no array is changed, and few nodes for any batch."""
    blocks = []
    for start in range(0, q.shape[2], QUERY_BLOCK):
        block = slice(start, start + QUERY_BLOCK)
        scores = (q[:, :, block] * q.shape[-1] ** -0.5) @ k.mT
        scores = scores + full_bias(row_bias[:, :, block], column_bias[:, :, block])
        blocks.append(torch.softmax(scores, -1) @ v)
    return torch.cat(blocks, dim=2).transpose(1, 2).contiguous()


REFUSED: set[tuple[str, torch.dtype]] = set()
"""Kinds of device and types of numbers that no fused kernel takes. Each is tried, and reported, once."""


def fused_attention(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """Compute :func:`folded_attention` by a fused kernel, or :func:`blocked_attention` if no kernel takes such tensors.

    Which lengths, types and devices a kernel takes depends on the version of PyTorch. Without a fused kernel, PyTorch
    would store the scores of all pairs of tokens, 800 MB per layer and image.
    """
    kind = (q.device.type, q.dtype)
    if kind not in REFUSED:
        try:
            with sdpa_kernel(FUSED):
                return folded_attention(q, k, v, row_bias, column_bias)
        except RuntimeError as error:
            if "No available kernel" not in str(error) and "No viable backend" not in str(error):
                raise
            REFUSED.add(kind)
            logger.warning("%s, %s: no fused attention kernel; attention is computed in blocks, which is slower", *kind)
    return blocked_attention(q, k, v, row_bias, column_bias)


def folded_attention(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """Compute attention as one fused product, for devices whose kernels never store the scores.

    The bias becomes part of the dot product: each query is extended by its two bias vectors, and each key by ones at
    its row and column and zeros elsewhere. Arguments and result are those of :func:`blocked_attention`.
    """
    rows = row_bias.shape[-1]
    columns = column_bias.shape[-1]
    row_of_key = torch.eye(rows, dtype=k.dtype, device=k.device).repeat_interleave(columns, dim=0)
    column_of_key = torch.eye(columns, dtype=k.dtype, device=k.device).repeat(rows, 1)
    position = torch.cat([row_of_key, column_of_key], dim=-1).expand(*k.shape[:3], -1)

    # The scale of the scores goes into the queries, because the bias must not be scaled.
    queries = torch.cat([q * q.shape[-1] ** -0.5, row_bias.to(q.dtype), column_bias.to(q.dtype)], dim=-1)
    keys = torch.cat([k, position], dim=-1)
    # Fused kernels require lengths that are multiples of 8. Zeros do not change a dot product.
    queries, keys = (F.pad(part, (0, -part.shape[-1] % 8)) for part in (queries, keys))
    return F.scaled_dot_product_attention(queries, keys, v, scale=1.0).transpose(1, 2).contiguous()
