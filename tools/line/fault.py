"""What went wrong, in words for a log, a page and a decision."""

from __future__ import annotations

from spade_edge.runtime.errors import SpadeError


def in_words(problem: Exception) -> str:
    """An exception in one line. What is not ours is named, because its text alone may say nothing."""
    said = " ".join(str(problem).split())
    return said if isinstance(problem, SpadeError) and said else f"{type(problem).__name__}: {said}"
