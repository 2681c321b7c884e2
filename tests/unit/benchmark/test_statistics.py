"""Statistics against numbers worked out by hand, and against SciPy."""

import numpy as np
import pytest
from scipy import stats

from acdc_medsam.benchmark.statistics import Distribution, bootstrap_interval, describe, limits_of_agreement


def test_mean_and_standard_deviation_by_hand() -> None:
    found = describe([1.0, 2.0, 3.0, 6.0])
    # Deviations -2, -1, 0, 3: squares 14, divided by 3.
    assert (found.patients, found.mean) == (4, 3) and found.sd == pytest.approx((14 / 3) ** 0.5)
    assert found.low is not None and found.high is not None and 1 <= found.low < 3 < found.high <= 6


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], Distribution(0, None, None, None, None)), ([0.9], Distribution(1, 0.9, None, None, None))],
)
def test_what_is_not_defined_for_few_patients_is_none(values: list[float], expected: Distribution) -> None:
    assert describe(values) == expected


def test_two_patients_have_the_range_as_interval() -> None:
    """Of four equally likely samples, one is the lower value twice and one the upper value twice."""
    assert bootstrap_interval([0.2, 0.8]) == (0.2, 0.8)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert bootstrap_interval([0.5] * 7) == (0.5, 0.5)


@pytest.mark.parametrize("count", [6, 20, 100])
def test_the_interval_is_that_of_scipy(count: int) -> None:
    values = np.random.default_rng(count).beta(20, 2, count)
    found = bootstrap_interval(values.tolist())
    options = {"method": "percentile", "n_resamples": 20_000, "random_state": 0}
    expected = stats.bootstrap((values,), np.mean, **options).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.05 * values.std())
    assert found == bootstrap_interval(values.tolist()), "the same values have the same interval"


def test_the_interval_of_many_patients_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(10, 3, 400)
    error = 1.96 * values.std(ddof=1) / 20
    assert bootstrap_interval(values.tolist()) == pytest.approx(
        (values.mean() - error, values.mean() + error), abs=0.03
    )


def test_limits_of_agreement_by_hand() -> None:
    found = limits_of_agreement([-1.0, 1.0, 3.0])
    # Mean 1, deviations -2, 0, 2: squares 8, divided by 2.
    assert found.bias == 1
    assert (found.lower_limit, found.upper_limit) == pytest.approx((1 - 1.96 * 2, 1 + 1.96 * 2))
    assert vars(limits_of_agreement([2.0])) == {"bias": 2, "lower_limit": None, "upper_limit": None}
    assert limits_of_agreement([]).bias is None


def test_limits_of_agreement_contain_95_percent_of_normal_differences() -> None:
    differences = np.random.default_rng(1).normal(-2, 5, 20_000)
    limits = limits_of_agreement(differences.tolist())
    assert limits.lower_limit is not None and limits.upper_limit is not None
    inside = (differences > limits.lower_limit) & (differences < limits.upper_limit)
    assert inside.mean() == pytest.approx(0.95, abs=0.004)
