"""The exceptions that spade-edge raises on purpose, with the exit code of the command line for each.

    SpadeError
    ├── UsageError        2   an option or argument is wrong, or contradicts another one
    ├── FrameError        3   a frame that cannot be scored: type, shape, size
    ├── DataError         3   images or weights that cannot be read
    ├── ModelError        3   an ONNX file that is not a spade-edge pyramid
    ├── BundleError       3   a bundle that is incomplete, altered or of another version
    └── DeviceError       4   this machine lacks a package, a provider or a camera, or fails the self test

Every message says in one line what was expected, what was found and what to do.
"""

from __future__ import annotations


class SpadeError(Exception):
    """Base of all errors raised on purpose; `exit_code` is the exit code of the command line."""

    exit_code = 70

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # one line, even if a library's message has several


class UsageError(SpadeError):
    """An option or argument is wrong, or contradicts another one."""

    exit_code = 2


class FrameError(SpadeError):
    """A frame that cannot be scored."""

    exit_code = 3


class DataError(SpadeError):
    """Images or weights that cannot be read."""

    exit_code = 3


class ModelError(SpadeError):
    """An ONNX file that is not a spade-edge pyramid."""

    exit_code = 3


class BundleError(SpadeError):
    """A bundle that is incomplete, altered or of another version."""

    exit_code = 3


class DeviceError(SpadeError):
    """This machine lacks a package, a provider or a camera, or fails the self test."""

    exit_code = 4
