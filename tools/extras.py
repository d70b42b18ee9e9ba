"""Which extra brings a package that is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spade_edge.runtime.errors import DeviceError


@contextmanager
def packages_of(extra: str, *, needed_by: str) -> Iterator[None]:
    """Turn a failed import into an error that says what to install.

    Args:
        extra: the extra of spade-edge that brings the packages.
        needed_by: what needs them, for the message, such as "this command".

    Raises:
        DeviceError: a package is not installed, or a library that it needs is missing.
    """
    try:
        yield
    except ModuleNotFoundError as problem:
        package = (problem.name or "").partition(".")[0]
        if package == "spade_edge":
            raise
        raise DeviceError(
            f"{needed_by} needs {package}, which is not installed: pip install 'spade-edge[{extra}]'"
        ) from None
    except ImportError as problem:  # the package is installed, but a library that it needs is missing
        raise DeviceError(f"expected the package {problem.name or ''} to load, found: {problem}") from None
