"""Runs small graphs where the network runs, without copying their inputs and results to the host in between."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from spade_edge.runtime.errors import DeviceError
from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.ort import CPU, onnxruntime, session_options

Value = Any  # an onnxruntime.OrtValue: a tensor on the device, which `.numpy()` copies to the host


def put(array: NDArray[Any], device: str, number: int) -> Value:
    """Copy an array to a device. On the CPU a contiguous array is not copied, so it must not be changed.

    Args:
        array: the array.
        device: "cpu" or "cuda".
        number: number of the GPU.

    Raises:
        DeviceError: it cannot be copied, for instance because memory does not suffice.
    """
    contiguous = np.require(array, requirements="C")  # keeps arrays of no dimension, unlike ascontiguousarray
    try:
        return onnxruntime().OrtValue.ortvalue_from_numpy(contiguous, device, number)
    except Exception as problem:  # onnxruntime's own classes share no base but Exception
        raise DeviceError(
            f"expected {array.nbytes:,} bytes of memory for an array on {device}, found: {problem}"
        ) from None


class DeviceKernel:
    """A small graph whose inputs and results stay on the device that runs it.

    On a GPU an array is uploaded once, by `put`, and a result can be the input of the next kernel or of the network. On
    the CPU the same graph runs in the same way.

    Args:
        graph: the computation.
        execution_provider: onnxruntime's name of what runs it; all but the CPU are taken for an NVIDIA GPU.
        options: options of the execution provider, as `Provider.cuda_options` gives them.
        threads: threads for what runs on the CPU; None for one per core.
        number: number of the GPU.

    Attributes:
        device: "cpu" or "cuda", where inputs and results are.
        number: number of the GPU.

    Raises:
        DeviceError: onnxruntime is not installed, or the execution provider is not obtained.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        execution_provider: str = CPU,
        options: Mapping[str, str] | None = None,
        threads: int | None,
        number: int = 0,
    ) -> None:
        self.device = _memory(execution_provider)
        self.number = number
        self._outputs = tuple(graph.outputs)
        self._session = _opened(graph, execution_provider, options or {}, threads)
        self._kept: dict[str, Value] = {}

    def put(self, array: NDArray[Any]) -> Value:
        """Copy an array to the device. On the CPU a contiguous array is not copied, so it must not be changed.

        Raises:
            DeviceError: it cannot be copied, for instance because memory does not suffice.
        """
        return put(array, self.device, self.number)

    def keep(self, **inputs: NDArray[Any] | Value) -> None:
        """Give inputs that stay the same in all further runs, until they are given again.

        Raises:
            DeviceError: as `put`.
        """
        self._kept |= self._placed(inputs)

    def __call__(self, **inputs: NDArray[Any] | Value) -> tuple[Value, ...]:
        """Run the graph.

        Args:
            inputs: those that are not kept, on the device or as arrays, which are copied to it.

        Returns:
            the outputs in the order of their declaration, on the device. They belong to the caller; a later run does
            not overwrite them.

        Raises:
            DeviceError: the run fails, for instance because memory does not suffice.
        """
        values = self._kept | self._placed(inputs)
        # A binding of its own for each run: onnxruntime would write the next results over the former ones.
        binding = self._session.io_binding()
        try:
            for name, value in values.items():
                binding.bind_ortvalue_input(name, value)
            for name in self._outputs:
                binding.bind_output(name, self.device, self.number)
            self._session.run_with_iobinding(binding)
        except Exception as problem:  # as in `put`
            raise DeviceError(f"a computation fails on {self._session.get_providers()[0]}: {problem}") from None
        return tuple(binding.get_outputs())

    def _placed(self, inputs: Mapping[str, NDArray[Any] | Value]) -> dict[str, Value]:
        return {name: self.put(given) if isinstance(given, np.ndarray) else given for name, given in inputs.items()}


class FixedBinding:
    """Runs a session whose inputs and outputs stay at fixed addresses, as a captured CUDA graph requires.

    Args:
        session: an onnxruntime.InferenceSession.
        inputs: all inputs, on the device. Their content may change between runs.
        outputs: name to shape and type of each output.
        device: "cpu" or "cuda", where the outputs are.
        number: number of the GPU.

    Raises:
        DeviceError: memory does not suffice.
    """

    def __init__(
        self,
        session: Any,
        *,
        inputs: Mapping[str, Value],
        outputs: Mapping[str, tuple[tuple[int, ...], DTypeLike]],
        device: str,
        number: int,
    ) -> None:
        self._session, self._binding = session, session.io_binding()
        self._inputs = dict(inputs)  # kept alive
        for name, value in inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        self._outputs: list[Value] = []
        make = onnxruntime().OrtValue.ortvalue_from_shape_and_type
        for name, (shape, dtype) in outputs.items():
            try:
                self._outputs.append(make(list(shape), np.dtype(dtype).type, device, number))
            except Exception as problem:  # as in `put`
                raise DeviceError(
                    f"expected memory for {name} of shape {shape} on {device}, found: {problem}"
                ) from None
            self._binding.bind_ortvalue_output(name, self._outputs[-1])

    def __call__(self) -> tuple[Value, ...]:
        """Run; returns the outputs on the device, which the next run overwrites. Exceptions pass through."""
        self._session.run_with_iobinding(self._binding)
        return tuple(self._outputs)


class CapturedKernel:
    """A small graph that a GPU runs as one captured graph: CUDA launches its dozens of kernels at once.

    Args:
        graph: the computation.
        execution_provider: as for a `DeviceKernel`.
        options: as for a `DeviceKernel`; with `enable_cuda_graph` the graph is captured.
        threads: as for a `DeviceKernel`.
        number: number of the GPU.
        inputs: as for a `FixedBinding`.
        outputs: shape and type of each output, in the order of their declaration.

    Raises:
        DeviceError: as for a `DeviceKernel`.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        execution_provider: str = CPU,
        options: Mapping[str, str] | None = None,
        threads: int | None,
        number: int = 0,
        inputs: Mapping[str, Value],
        outputs: Sequence[tuple[tuple[int, ...], DTypeLike]],
    ) -> None:
        self._provider = execution_provider
        self._run = FixedBinding(
            _opened(graph, execution_provider, options or {}, threads),
            inputs=inputs,
            outputs=dict(zip(graph.outputs, outputs, strict=True)),
            device=_memory(execution_provider),
            number=number,
        )

    def __call__(self) -> tuple[Value, ...]:
        """Run the graph; returns its outputs on the device, which the next run overwrites.

        Raises:
            DeviceError: the run fails.
        """
        try:
            return self._run()
        except Exception as problem:  # as in `put`
            raise DeviceError(f"a computation fails on {self._provider}: {problem}") from None


def _memory(execution_provider: str) -> str:
    """Where a provider's values are, as onnxruntime calls it."""
    return "cpu" if execution_provider == CPU else "cuda"


def _opened(graph: Graph, provider: str, provider_options: Mapping[str, str], threads: int | None) -> Any:
    options = session_options(threads)
    options.use_deterministic_compute = True
    options.enable_mem_pattern = False  # it would keep a plan for every shape of the inputs
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):  # onnxruntime 1.17 falls back in spite of the option, and prints why
            session = onnxruntime().InferenceSession(
                graph.to_bytes(), options, providers=[(provider, dict(provider_options))], enable_fallback=0
            )
    except Exception as problem:  # as in `put`
        raise DeviceError(f"expected {provider}, found that it is not available here: {problem}") from None
    found = session.get_providers()[0]
    if found != provider:
        reason = printed.getvalue().partition("EP Error ")[2].partition(" when using ")[0]
        raise DeviceError(f"expected {provider}, found that onnxruntime continues with {found}; {reason}")
    return session
