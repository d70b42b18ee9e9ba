"""What people type, as JSON can hold it."""

from __future__ import annotations


def storable(text: str) -> str:
    r"""A reason or a name, without spaces around it; what is no text is written out, as \udcff and \x00 are."""
    return text.strip().encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", r"\x00")
