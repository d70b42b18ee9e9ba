"""Text from elsewhere in a form that can be printed: it must neither break a line nor steer a terminal."""

from __future__ import annotations


def legible(text: str) -> str:
    """A text with a question mark for each character that cannot be printed."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
