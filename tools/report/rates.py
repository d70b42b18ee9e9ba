"""Shares and rates in words; nothing is rounded to perfection."""

from __future__ import annotations

import math

from spade_edge.tools.evaluation.metrics import Rate


def share(value: float) -> str:
    """From 0 to 1 with three decimals, and more where that would round to 1."""
    if 0.9995 <= value < 1:
        return f"{math.floor(value * 1e5) / 1e5:.5f}"
    return f"{value:.3f}"


def percent(value: float) -> str:
    """One decimal; only what is none or all is said to be so."""
    if value in (0, 1):
        return f"{value:.0%}".replace("%", "\u202f%")
    return f"{min(max(100 * value, 0.1), 99.9):.1f}\u202f%"


def rate_and_interval(rate: Rate) -> str:
    """The rate with its interval in brackets, as HTML."""
    return "–" if rate.share is None else f"{percent(rate.share)} <small>({between(rate)})</small>"


def between(rate: Rate) -> str:
    """The interval of a rate, in per cent."""
    if rate.low is None or rate.high is None:
        return "–"
    low, high = (f"{end:.0%}"[:-1] if end in (0, 1) else f"{100 * end:.1f}" for end in (rate.low, rate.high))
    return f"{low}–{high}\u202f%"


def times(ratio: float) -> str:
    """Three digits, but never 1 for what is not the threshold itself."""
    return f"{ratio:.4g}×" if f"{ratio:.2f}" == "1.00" else f"{ratio:.2f}×"
