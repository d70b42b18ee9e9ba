"""Whether an image file that may still be being written is whole."""

from __future__ import annotations

from spade_edge.galleries.images.anatomy import CutOffError, DamagedError, UnreadError
from spade_edge.galleries.images.content import UnknownError, examine
from spade_edge.galleries.images.unwritten import lost_code, lost_rows

# Kinds whose first bytes say how long they are, or that have an end mark; text has neither.
_TEXT = ("PBM", "PGM", "PPM")


def is_complete(raw: bytes, suffix: str) -> bool | None:
    """Whether these bytes are a whole image file.

    Args:
        raw: everything that the file holds so far.
        suffix: of the file name, in lower case; the content tells the format, and the suffix is not asked.

    Returns:
        False as long as something is missing or wrong, which a program that is still writing may put right; None where
        the content is of no kind that is known, or cannot say whether something is missing.
    """
    try:
        anatomy = examine(raw)
    except (CutOffError, DamagedError):
        return False
    except (UnreadError, UnknownError):
        return None
    if lost_code(raw, anatomy) is not None or lost_rows(raw, anatomy) is not None:
        return False
    return None if anatomy.kind in _TEXT and anatomy.end == len(raw) and not anatomy.rows else True
