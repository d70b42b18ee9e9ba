"""Writes small ONNX graphs, so that the runtime can use onnxruntime's threads and integer products.

    graph = Graph()
    a = graph.input("a", np.uint8, ("rows", 64))
    b = graph.input("b", np.int8, (64, "columns"))
    graph.output("products", graph.node("MatMulInteger", a, b), np.int32)
    run = Kernel(graph, threads=2)
    products = run(a=..., b=...)

An ONNX file is one protobuf message, and only a few of its fields are needed. They are written byte by byte, because a
device does not need the `onnx` package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

OPSET, IR_VERSION = 17, 8  # supported from onnxruntime 1.12 on

# onnx.proto3: TensorProto.DataType
_TYPES = {
    np.dtype(name): number
    for name, number in (("f4", 1), ("u1", 2), ("i1", 3), ("i4", 6), ("i8", 7), ("bool", 9), ("f2", 10))
}
FLOAT, INT8, INT32, INT64, FLOAT16 = 1, 3, 6, 7, 10  # targets of a Cast
_INT, _STRING, _INTS = 2, 3, 7  # AttributeProto.AttributeType


class Graph:
    """A graph under construction. `input`, `constant` and `node` return the names of values."""

    def __init__(self) -> None:
        self.outputs: list[str] = []
        self._nodes: list[tuple[str, tuple[str, ...], tuple[str, ...], bytes]] = []
        self._names: dict[str, str] = {}  # value to output name
        self._constants: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def input(self, name: str, dtype: DTypeLike, shape: Sequence[int | str]) -> str:
        """Declare an input. A string in `shape` names an axis of any length."""
        self._inputs.append(_value(name, dtype, shape))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Add a constant."""
        name = f"constant{len(self._constants)}"
        dims = b"".join(_number(1, length) for length in array.shape)
        kind = _number(2, _TYPES[array.dtype])
        self._constants.append(dims + kind + _text(8, name) + _message(9, np.ascontiguousarray(array).tobytes()))
        return name

    def node(self, operator: str, *inputs: str, results: int = 1, **attributes: int | str | Sequence[int]) -> Any:
        """Add an operator; returns the name of its result, or a tuple of names if it has several."""
        names = tuple(f"value{len(self._nodes)}.{i}" for i in range(results))
        self._nodes.append((operator, inputs, names, b"".join(_message(5, _attribute(*a)) for a in attributes.items())))
        return names if results > 1 else names[0]

    def reshape(self, value: str, *shape: int) -> str:
        """Add a Reshape; 0 keeps the length of an axis, -1 is computed from the others."""
        return str(self.node("Reshape", value, self.constant(np.array(shape, np.int64))))

    def output(self, name: str, value: str, dtype: DTypeLike) -> None:
        """Declare the result of an operator as an output with a name."""
        self._names[value] = name
        self._outputs.append(_value(name, dtype, None))
        self.outputs.append(name)

    def to_bytes(self) -> bytes:
        """The content of the ONNX file."""
        graph = b"".join(_message(1, self._node(*node)) for node in self._nodes) + _text(2, "spade_edge")
        graph += b"".join(_message(5, constant) for constant in self._constants)
        graph += b"".join(_message(11, value) for value in self._inputs)
        graph += b"".join(_message(12, value) for value in self._outputs)
        return _number(1, IR_VERSION) + _message(7, graph) + _message(8, _text(1, "") + _number(2, OPSET))

    def _node(self, operator: str, inputs: tuple[str, ...], results: tuple[str, ...], attributes: bytes) -> bytes:
        taken = b"".join(_text(1, self._names.get(name, name)) for name in inputs)
        given = b"".join(_text(2, self._names.get(name, name)) for name in results)
        return taken + given + _text(4, operator) + attributes


def _attribute(name: str, value: int | str | Sequence[int]) -> bytes:
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, _STRING)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _INT)
    return _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, _INTS)


def _value(name: str, dtype: DTypeLike, shape: Sequence[int | str] | None) -> bytes:
    tensor = _number(1, _TYPES[np.dtype(dtype)])
    if shape is not None:
        lengths = (_number(1, length) if isinstance(length, int) else _text(2, length) for length in shape)
        tensor += _message(2, b"".join(_message(1, length) for length in lengths))
    return _text(1, name) + _message(2, _message(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & (1 << 64) - 1)  # negative numbers as 64-bit two's complement


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
