"""Statistics over patients: mean, standard deviation, bootstrap interval, and agreement of two measurements.

The patient is the unit of everything here. Both phases of a heart are nearly the same picture, so to count them as two
would make every interval too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
"""Number of samples that a bootstrap interval is computed from."""

SEED = 2026
"""Seed of the samples, so that equal values have equal intervals."""

CONFIDENCE = 0.95
"""Share of intervals that contain the mean of the population, in repeated studies."""

NORMAL_QUANTILE = 1.96
"""Number of standard deviations around the mean that contain 95 % of a normal distribution."""


@dataclass(frozen=True)
class Distribution:
    """Distribution of a value over patients.

    Attributes:
        patients: Number of patients.
        mean: Arithmetic mean; None without patients.
        sd: Sample standard deviation, with n - 1 in the denominator; None for fewer than two patients.
        low: Lower end of the interval of the mean; None for fewer than two patients.
        high: Upper end of it.
    """

    patients: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None


def describe(values: Sequence[float]) -> Distribution:
    """Describe the distribution of a value over patients.

    Args:
        values: One value per patient.
    """
    if not values:
        return Distribution(0, None, None, None, None)
    low, high = bootstrap_interval(values) or (None, None)
    return Distribution(len(values), float(np.mean(values)), standard_deviation(values), low, high)


def standard_deviation(values: Sequence[float]) -> float | None:
    """Compute the sample standard deviation, with n - 1 in the denominator; None for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Compute the percentile bootstrap interval of the mean.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. The percentile interval
    keeps within the range of the values, as Dice must, and is defined for equal values, where the corrected interval
    BCa is not. For few patients it is too narrow, as every bootstrap interval is.

    Args:
        values: One value per patient.

    Returns:
        Ends of the interval with the confidence CONFIDENCE; None for fewer than two patients, of whom no sample differs
        from another.
    """
    if len(values) < 2:
        return None
    generator = np.random.Generator(np.random.PCG64(SEED))
    samples = generator.choice(np.asarray(values, dtype=np.float64), (RESAMPLES, len(values)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(samples.mean(1), (tail, 1 - tail))
    return float(low), float(high)


@dataclass(frozen=True)
class Agreement:
    """Agreement of two methods of measurement.

    Attributes:
        bias: Mean difference; None without patients.
        lower_limit: Lower limit of agreement: the bias minus NORMAL_QUANTILE standard deviations of the differences;
            None for fewer than two patients.
        upper_limit: Upper limit of agreement.
    """

    bias: float | None
    lower_limit: float | None
    upper_limit: float | None


def limits_of_agreement(differences: Sequence[float]) -> Agreement:
    """Compute the bias and the 95 % limits of agreement of two methods of measurement.

    Source: J. M. Bland and D. G. Altman, Statistical methods for assessing agreement between two methods of clinical
    measurement, Lancet 327, 1986.

    Args:
        differences: Difference of the two methods for each patient.
    """
    if not differences:
        return Agreement(None, None, None)
    bias = float(np.mean(differences))
    sd = standard_deviation(differences)
    if sd is None:
        return Agreement(bias, None, None)
    return Agreement(bias, bias - NORMAL_QUANTILE * sd, bias + NORMAL_QUANTILE * sd)
