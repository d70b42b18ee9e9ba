"""How sure a rate is that was counted: quantiles of the beta distribution, and the interval of Clopper and Pearson."""

from __future__ import annotations

import math

import numpy as np

CONFIDENCE = 0.95


def clopper_pearson(count: int, of: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The rates that a binomial test would not refuse, for `count` of `of` > 0: an interval that is never too short.

    Clopper & Pearson 1934: its ends are where either tail, the observed count in it, holds half of what is left to
    chance.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else beta_quantile(count, of - count + 1, tail)
    high = 1.0 if count == of else beta_quantile(count + 1, of - count, 1 - tail)
    return low, high


def beta_quantile(first: int, second: int, share: float) -> float:
    """The x below which a Beta(first, second) distribution holds `share`; both whole, from 1. Found by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_share(first, second, middle) < share else (low, middle)
    return (low + high) / 2


def beta_share(first: int, second: int, x: float) -> float:
    """P(Beta(first, second) ≤ x): that of `first + second - 1` tosses at least `first` come up."""
    if not 0 < x < 1:
        return float(x >= 1)
    tosses = first + second - 1
    # Logarithms of the binomial coefficients: large counts overflow anything else.
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, tosses + 1)))])
    some = np.arange(first, tosses + 1)
    coefficients = logs[tosses] - logs[some] - logs[tosses - some]
    return float(np.exp(coefficients + some * math.log(x) + (tosses - some) * math.log1p(-x)).sum())
