"""Measures of embeddings. Each file is read once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acdc_medsam.formats.files import Written, read_recorded
from acdc_medsam.formats.tensor_values import Values, read_values
from acdc_medsam.layout import EMBEDDING_SHAPE
from acdc_medsam.measures.records import REGIONS, Floats


@dataclass(frozen=True)
class EmbeddingMeasures:
    """Measures of one embedding, which has one vector of 256 channels at each of 64 x 64 positions.

    Attributes:
        mean: Mean of all values.
        std: Standard deviation of all values.
        norm: Euclidean norm of all values.
        pooled: (256, REGIONS, REGIONS) mean of each channel in each region.
        products: (256, 256) sum of the outer products of the vectors at all positions with themselves.
    """

    mean: float
    std: float
    norm: float
    pooled: npt.NDArray[np.float32]
    products: Floats


def measure_embedding(embedding: Values) -> EmbeddingMeasures:
    """Measure an embedding (256, 64, 64) float32.

    Computing the outer products takes most of the time, so the sum of squares is read off them: it is their trace.

    Args:
        embedding: The embedding.

    Returns:
        Its measures.
    """
    channels, height, width = embedding.shape
    vectors = embedding.reshape(channels, -1)
    products = (vectors @ vectors.T).astype(np.float64)
    # One axis after the other, which takes a quarter of the time of both at once.
    rows = embedding.reshape(channels, REGIONS, height // REGIONS, width).mean(2)
    pooled = rows.reshape(channels, REGIONS, REGIONS, width // REGIONS).mean(3)

    # The regions are equally large, so that the mean of their means is the mean of all values.
    mean = float(pooled.mean(dtype=np.float64))
    squares = float(np.trace(products))
    # The difference can be slightly negative by rounding error.
    variance = max(squares / embedding.size - mean**2, 0.0)
    return EmbeddingMeasures(mean, float(np.sqrt(variance)), float(np.sqrt(squares)), pooled, products)


def measure_embeddings(embeddings: Sequence[Written]) -> dict[str, npt.NDArray[Any]]:
    """Measure the embeddings of one volume.

    Args:
        embeddings: Records of the files of embeddings, at least one.

    Returns:
        Values of the attributes of :class:`acdc_medsam.measures.records.Measures` that are about embeddings.

    Raises:
        DatasetError: A file is missing or has changed since it was made.
    """
    each = list[EmbeddingMeasures]()
    products = np.zeros((EMBEDDING_SHAPE[0],) * 2)
    for written in embeddings:
        data = read_recorded(written.path, written.sha256)
        measured = measure_embedding(read_values(data, written.path, EMBEDDING_SHAPE))
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
