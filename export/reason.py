"""Errors of other packages in one line."""

from __future__ import annotations


def reason(problem: Exception) -> str:
    """The first line of an error."""
    line = next(iter(str(problem).strip().splitlines()), "") or type(problem).__name__
    return line if len(line) <= 200 else f"{line[:197]}..."
