"""Keeps what onnxruntime and cuDNN print from the user, as long as nothing fails.

cuDNN tries ways to compute a convolution, and onnxruntime prints a red error for each one that cuDNN does not support
before it takes another: some forty lines for a network in float16, none of which matters. What does matter is raised as
an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.captured import captured_stderr, write_back

# A record of onnxruntime's log. In colour, as errors are, it ends where the colour does, which may be on a later line:
# "\x1b[1;31m2026-11-28 09:12:55.503342657 [E:onnxruntime:Default, conv.cc:1 f] …\n\x1b[m\n". It is written at once, so
# nothing of another thread is within it.
_HEAD = rb"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+ \[[VIWEF]:onnxruntime:"
_RECORD = re.compile(rb"\x1b\[[0-9;]+m" + _HEAD + rb"(?:(?!" + _HEAD + rb").)*?\x1b\[m\n?", re.DOTALL)
_LINE = re.compile(rb"(?:\x1b\[[0-9;]+m)?" + _HEAD + rb"[^\n]*\n?")


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is printed on file descriptor 2 while the block runs, and pass it on at its end.

    If the block succeeds, the lines of onnxruntime and cuDNN are left out; if it fails, they are not. Lines of other
    threads always come through, late.
    """
    said = bytearray()
    try:
        with captured_stderr() as said:
            yield
    except BaseException:
        write_back(bytes(said))
        raise
    write_back(of_others(bytes(said)))


def of_others(said: bytes) -> bytes:
    """What is neither a record of onnxruntime's log nor a line that names cuDNN."""
    rest = _LINE.sub(b"", _RECORD.sub(b"", said))
    return b"".join(line for line in rest.splitlines(keepends=True) if b"cudnn" not in line.lower())


class QuietFirstRuns:
    """Runs the network, quietly the first time with each number of views, as cuDNN then looks for ways to compute it.

    Args:
        run: views of shape (N, H, W, 3) to the model's outputs.
    """

    def __init__(self, run: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]) -> None:
        self._run = run
        self._known: set[int] = set()

    def __call__(self, views: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run the network; exceptions of onnxruntime pass through."""
        if len(views) in self._known:
            return self._run(views)
        with quiet():
            outputs = self._run(views)
        self._known.add(len(views))
        return outputs
