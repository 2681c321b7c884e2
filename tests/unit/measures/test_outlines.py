import numpy as np
import pytest
from skimage.measure import approximate_polygon

from acdc_medsam.measures.outlines import simplify_line


@pytest.mark.parametrize("seed", range(20))
def test_lines_are_simplified_as_by_scikit_image(seed: int) -> None:
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, 80))
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * random.uniform(8, 10, (80, 1))
    closed = np.concatenate([points, points[:1]])
    for line in (points, closed, points[:2], points[:3]):
        np.testing.assert_array_equal(simplify_line(line, 0.6), approximate_polygon(line, 0.6))


def test_a_square_keeps_its_corners() -> None:
    square = np.array([[0, 0], [0, 1], [0, 2], [1, 2], [2, 2], [2, 1], [2, 0], [1, 0], [0, 0]], float)
    assert simplify_line(square, 0.6).tolist() == [[0, 0], [0, 2], [2, 2], [2, 0], [0, 0]]
