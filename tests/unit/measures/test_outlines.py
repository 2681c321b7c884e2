import numpy as np
from skimage.measure import approximate_polygon

from acdc_medsam.measures.outlines import simplify_line


def test_a_closed_line_is_simplified_as_by_scikit_image() -> None:
    angle = np.linspace(0, 2 * np.pi, 300)
    radius = 20 + 5 * np.sin(5 * angle) + np.random.default_rng(0).normal(0, 0.1, 300)
    radius[-1] = radius[0]
    line = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    simplified = simplify_line(line, 0.6)
    np.testing.assert_array_equal(simplified, approximate_polygon(line, 0.6))
    assert 10 < len(simplified) < 100
