"""Runs small graphs on the CPU: 8-bit and float32 matrix products with a fixed number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.ort import CPU, open_session


class Kernel:
    """A small graph, ready to run on the CPU.

    Args:
        graph: the computation.
        threads: threads for one run; None for one per core.

    Raises:
        DeviceError: onnxruntime is not installed.
    """

    def __init__(self, graph: Graph, *, threads: int | None) -> None:
        self._outputs = list(graph.outputs)
        self._session = open_session(graph.to_bytes(), providers=(CPU,), threads=threads, plans_memory=False)

    def __call__(self, **inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Run the graph; returns the outputs in the order of their declaration. Contiguous arrays are not copied."""
        return tuple(self._session.run(self._outputs, inputs))


class Products:
    """Multiplies float32 matrices, (m, k) by (k, n), with a fixed number of threads; replaces np.matmul."""

    def __init__(self, *, threads: int | None) -> None:
        graph = Graph()
        left, right = graph.input("left", np.float32, ("m", "k")), graph.input("right", np.float32, ("k", "n"))
        graph.output("product", graph.node("MatMul", left, right), np.float32)
        self._kernel = Kernel(graph, threads=threads)

    def __call__(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
        (product,) = self._kernel(left=np.ascontiguousarray(left), right=np.ascontiguousarray(right))
        return product
