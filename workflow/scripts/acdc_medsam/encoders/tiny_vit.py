"""TinyViT as LiteMedSAM uses it, for inference: the image encoder of the weights ``lite_medsam``.

Sources: K. Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers", ECCV 2022, for the
architecture; MedSAM's branch LiteMedSAM for its changes: patches of one pixel at 256 x 256, and a last merging layer
that keeps the resolution, so that the embedding has SAM's 64 x 64. Parameters have the names of the published weights.

Features are (B, H, W, C) float32 throughout. A 1 x 1 convolution is then a matrix product, which, unlike torch's
convolution, is the same computation for any number of threads.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acdc_medsam.encoders.layers import Linear, PointwiseConv2d, in_strips, linear, runs_on_cpu
from acdc_medsam.encoders.sam import (
    EMBEDDING_CHANNELS,
    LayerNorm2d,
    PromptedModel,
    window_partition,
    window_unpartition,
)

INPUT_SIZE = 256
STRIP_ROWS = 16
"""Number of image rows whose widened features are computed at a time on a CPU: at most 5 MB, which stay in cache."""


def strips(x: Tensor) -> list[tuple[int, int]]:
    """Return the first and the last row (exclusive) of each strip in which (B, H, W, C) is computed."""
    height = x.shape[1]
    rows = STRIP_ROWS if runs_on_cpu(x) else height
    return [(start, min(start + rows, height)) for start in range(0, height, rows)]


class ConvNorm(nn.Module):
    """Convolution without bias and batch normalization by stored statistics, computed as one convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, inputs) to (B, H / stride, W / stride, outputs)."""
        weight, bias = self.folded()
        if self.c.kernel_size == (1, 1):
            return linear(x, weight.flatten(1), bias)
        maps = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, self.c.stride, self.c.padding, groups=self.c.groups)
        return maps.permute(0, 2, 3, 1)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the one convolution; the parameters keep their published names and values."""
        mean = self.bn.running_mean
        variance = self.bn.running_var
        assert mean is not None and variance is not None  # noqa: S101
        # bn(conv(x)) = (w * x - mean) / sqrt(variance + eps) * weight + bias, which is a convolution again.
        scale = self.bn.weight / torch.sqrt(variance + self.bn.eps)
        return self.c.weight * scale[:, None, None, None], self.bn.bias - mean * scale


class PatchEmbed(nn.Module):
    """Embedding of each pixel: RGB to the features of the first stage."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, width // 2), nn.GELU(), ConvNorm(width // 2, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, 3) to (B, H, W, width)."""
        features: Tensor = self.seq(x)
        return features


class MBConv(nn.Module):
    """Inverted bottleneck: widen, filter each channel separately, narrow, and add the input."""

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = width * expansion
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, kernel=3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, width) to the same shape. The last activation follows the sum."""
        return torch.cat([self.strip(x, start, stop) for start, stop in strips(x)], dim=1)

    def strip(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Compute rows ``start`` to ``stop`` (exclusive) of the result for (B, H, W, width)."""
        # The 3 x 3 convolution needs one more row on either side.
        above = min(start, 1)
        below = min(x.shape[1] - stop, 1)

        # Contiguous, because torch uses other kernels, which round differently, for tensors that are not.
        hidden = F.gelu(self.conv1(x[:, start - above : stop + below].contiguous()))
        hidden = F.gelu(self.conv2(hidden)[:, above : above + stop - start].contiguous())
        return F.gelu(self.conv3(hidden) + x[:, start:stop])


class PatchMerging(nn.Module):
    """Transition between two stages: changes the width and, if ``stride`` is 2, the resolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, kernel=3, stride=stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, inputs) to (B, H / stride, W / stride, outputs)."""
        merged: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return merged


class Attention(nn.Module):
    """Attention among the tokens of a square window, with a learned bias for each head and offset."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.norm = nn.LayerNorm(width)
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def bias(self) -> Tensor:
        """Return the bias of each pair of tokens, (heads, N, N) with N = window * window."""
        # The bias of a pair is stored at index |dy| * window + |dx|.
        steps = torch.arange(self.window, device=self.attention_biases.device)
        distance = (steps[:, None] - steps).abs()
        offset = distance[:, None, :, None] * self.window + distance[None, :, None, :]
        tokens = self.window * self.window
        return self.attention_biases[:, offset.view(tokens, tokens)]

    def forward(self, x: Tensor) -> Tensor:
        """Map (windows, N, width) to the same shape."""
        windows, tokens, width = x.shape
        qkv = self.qkv(self.norm(x)).view(windows, tokens, self.heads, 3, width // self.heads)
        q, k, v = qkv.permute(3, 0, 2, 1, 4).unbind()  # (windows, heads, N, channels) each
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias().to(q.dtype)[None])
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(windows, tokens, width))
        return projected


class Mlp(nn.Module):
    """Normalization and two linear layers with GELU between them."""

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = Linear(width, width * expansion)
        self.fc2 = Linear(width * expansion, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, width) to the same shape."""
        return in_strips(lambda rows: self.fc2(F.gelu(self.fc1(self.norm(rows)))), x, STRIP_ROWS)


class TransformerBlock(nn.Module):
    """Attention within windows, a 3 x 3 convolution of each channel, and an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(width, heads, window)
        self.mlp = Mlp(width)
        self.local_conv = ConvNorm(width, width, kernel=3, groups=width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, H, W, width) to the same shape."""
        tokens = self.local_conv(tokens + self.attend(tokens))
        output: Tensor = tokens + self.mlp(tokens)
        return output

    def attend(self, tokens: Tensor) -> Tensor:
        """Map (B, H, W, width) to the same shape. Windows beyond the edge are padded with zeros, which take part."""
        windows, padded = window_partition(tokens, self.window)  # (B * windows, window, window, width)
        mixed: Tensor = window_unpartition(self.attn(windows.flatten(1, 2)), self.window, padded, tokens.shape[1:3])
        return mixed


class Stage(nn.Module):
    """Blocks of one width and resolution, and the transition to the next stage."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, width) to (B, H / stride, W / stride, next width)."""
        output: Tensor = self.downsample(self.blocks(x))
        return output


class TinyViT(nn.Module):
    """LiteMedSAM's image encoder, which maps (B, 3, 256, 256) to (B, 256, 64, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(64)
        self.layers = nn.Sequential(
            Stage([MBConv(64) for _ in range(2)], PatchMerging(64, 128, stride=2)),
            Stage([TransformerBlock(128, 4, 7) for _ in range(2)], PatchMerging(128, 160, stride=2)),
            Stage([TransformerBlock(160, 5, 14) for _ in range(6)], PatchMerging(160, 320, stride=1)),
            Stage([TransformerBlock(320, 10, 7) for _ in range(2)], nn.Identity()),
        )
        self.neck = nn.Sequential(
            PointwiseConv2d(320, EMBEDDING_CHANNELS),
            LayerNorm2d(EMBEDDING_CHANNELS),
            nn.Conv2d(EMBEDDING_CHANNELS, EMBEDDING_CHANNELS, 3, padding=1, bias=False),
            LayerNorm2d(EMBEDDING_CHANNELS),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Encode (B, 3, 256, 256) float32 in [0, 1] as (B, 256, 64, 64)."""
        features: Tensor = self.layers(self.patch_embed(images.permute(0, 2, 3, 1)))
        embedding: Tensor = self.neck(features.permute(0, 3, 1, 2))
        return embedding


def build_lite_medsam() -> PromptedModel:
    """Build LiteMedSAM on the meta device; ``load_state_dict(..., assign=True)`` fills in the weights."""
    with torch.device("meta"):
        return PromptedModel(TinyViT(), INPUT_SIZE)
