"""Fractions and rates as text; nothing is rounded to 0 or 1."""

from __future__ import annotations

import math

from spade_edge.tools.evaluation.metrics import Rate


def fraction(value: float) -> str:
    """A fraction with three decimals, and more where it would round to 1."""
    if 0.9995 <= value < 1:
        return f"{math.floor(value * 1e5) / 1e5:.5f}"
    return f"{value:.3f}"


def percent(value: float) -> str:
    """Per cent with one decimal; only exactly 0 and 1 are shown as 0 % and 100 %."""
    if value in (0, 1):
        return f"{value:.0%}".replace("%", "\u202f%")
    return f"{min(max(100 * value, 0.1), 99.9):.1f}\u202f%"


def rate_and_interval(rate: Rate) -> str:
    """The rate with its interval in brackets, as HTML."""
    return "–" if rate.fraction is None else f"{percent(rate.fraction)} <small>({between(rate)})</small>"


def between(rate: Rate) -> str:
    """The interval of a rate, in per cent."""
    if rate.low is None or rate.high is None:
        return "–"
    low, high = (f"{end:.0%}"[:-1] if end in (0, 1) else f"{100 * end:.1f}" for end in (rate.low, rate.high))
    return f"{low}–{high}\u202f%"


def times(ratio: float) -> str:
    """A multiple of the threshold with two decimals, and more where it would round to 1."""
    return f"{ratio:.4g}×" if f"{ratio:.2f}" == "1.00" else f"{ratio:.2f}×"
