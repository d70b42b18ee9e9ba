"""The confidence interval of a counted rate (Clopper and Pearson), and quantiles of the beta distribution."""

from __future__ import annotations

import math

import numpy as np

CONFIDENCE = 0.95


def clopper_pearson(count: int, of: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of rates that a binomial test does not reject for `count` of `of` > 0; it is never too short.

    Clopper & Pearson 1934: at either end, the tail that includes the observed count has half of the remaining
    probability.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else beta_quantile(count, of - count + 1, tail)
    high = 1.0 if count == of else beta_quantile(count + 1, of - count, 1 - tail)
    return low, high


def beta_quantile(first: int, second: int, probability: float) -> float:
    """Quantile of a Beta(first, second) distribution with integer parameters from 1, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_probability(first, second, middle) < probability else (low, middle)
    return (low + high) / 2


def beta_probability(first: int, second: int, x: float) -> float:
    """P(Beta(first, second) ≤ x), which is P(at least `first` successes in `first + second - 1` trials)."""
    if not 0 < x < 1:
        return float(x >= 1)
    trials = first + second - 1
    # Logarithms of the binomial coefficients, which overflow for large counts.
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    some = np.arange(first, trials + 1)
    coefficients = logs[trials] - logs[some] - logs[trials - some]
    return float(np.exp(coefficients + some * math.log(x) + (trials - some) * math.log1p(-x)).sum())
