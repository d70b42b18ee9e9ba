"""Trying again what may go well the next time: connections that break off, servers that are busy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from spade_edge.runtime.errors import DataError, SpadeError

log = logging.getLogger(__name__)

Found = TypeVar("Found")


class UnreachableError(DataError):
    """The place did not answer, or broke off, at each try; another file of it will fare no better."""


def retried(
    call: Callable[[], Found], *, about: str, judge: Callable[[Exception], SpadeError | str], tries: int, soonest: float
) -> Found:
    """What a call returns. Our own errors are not tried again.

    Args:
        call: does it; may be called several times.
        about: what messages begin with, such as "s3://plant: cannot be read".
        judge: what to raise at once for an exception that will not pass, or in words why one may.
        tries: number of calls, at most.
        soonest: seconds until the second one; the time doubles.

    Raises:
        UnreachableError: it has not passed.
        SpadeError: of the call, or of `judge`.
    """
    for number in range(1, tries + 1):
        try:
            return call()
        except SpadeError:
            raise
        except Exception as problem:  # each library has its own
            found = judge(problem)
            if isinstance(found, SpadeError):
                raise found from None
            said = f"{about}: {found}"
            if number == tries:
                raise UnreachableError(f"{said}; tried {tries} times") from None
            log.info("%s; try %d of %d", said, number, tries)
            time.sleep(soonest * 2 ** (number - 1))
    raise AssertionError
