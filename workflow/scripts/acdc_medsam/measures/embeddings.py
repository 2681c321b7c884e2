"""Figures of embeddings, from one reading of their files."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from acdc_medsam.formats.files import Written, read_recorded
from acdc_medsam.formats.tensors import read_embedding
from acdc_medsam.layout import EMBEDDING_SHAPE
from acdc_medsam.measures.records import REGIONS, Floats


@dataclass(frozen=True)
class EmbeddingMeasures:
    """Figures of one embedding.

    Attributes:
        mean: of all values.
        std: their standard deviation.
        norm: their Euclidean norm.
        pooled: (256, REGIONS, REGIONS) mean of each channel in each region.
        products: (256, 256) sum over all places of the outer product of their vectors.
    """

    mean: float
    std: float
    norm: float
    pooled: npt.NDArray[np.float32]
    products: Floats


def measure_embedding(embedding: torch.Tensor) -> EmbeddingMeasures:
    """Measure an embedding (256, 64, 64) float32.

    The sum of outer products is the pass over the values that costs: its trace is the sum of their squares.
    """
    vectors = embedding.flatten(1)
    products = (vectors @ vectors.T).numpy().astype(np.float64)
    pooled = torch.nn.functional.adaptive_avg_pool2d(embedding, REGIONS).numpy()
    squares, mean = float(np.trace(products)), float(pooled.mean(dtype=np.float64))
    variance = max(squares / embedding.numel() - mean**2, 0.0)
    return EmbeddingMeasures(mean, float(np.sqrt(variance)), float(np.sqrt(squares)), pooled, products)


def measure_embeddings(embeddings: Sequence[Written]) -> dict[str, npt.NDArray[Any]]:
    """Measure some embeddings, one at least; the keys are attributes of :class:`acdc_medsam.measures.records.Measures`.

    Raises:
        DatasetError: A file is no longer what was made.
    """
    each = list[EmbeddingMeasures]()
    products = np.zeros((EMBEDDING_SHAPE[0],) * 2)
    for written in embeddings:
        data = read_recorded(written.path, written.sha256)
        measured = measure_embedding(read_embedding(io.BytesIO(data), written.path, EMBEDDING_SHAPE))
        products += measured.products
        each.append(measured)
    return {
        "embedding_means": np.array([one.mean for one in each]),
        "embedding_stds": np.array([one.std for one in each]),
        "embedding_norms": np.array([one.norm for one in each]),
        "pooled": np.stack([one.pooled for one in each]),
        "tokens": np.array(len(each) * EMBEDDING_SHAPE[1] * EMBEDDING_SHAPE[2]),
        "token_products": products,
    }
