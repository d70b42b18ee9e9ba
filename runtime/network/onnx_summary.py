"""A summary of an ONNX file, read without loading it: metadata, number of nodes, and whether it contains engines.

An ONNX file is one protobuf message. Most fields are skipped by their length.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spade_edge.runtime.errors import ModelError

GRAPH, METADATA, NODE, KEY, VALUE = 7, 14, 1, 1, 2  # fields of ModelProto, GraphProto and StringStringEntryProto
WIDTHS = {1: 8, 5: 4}  # bytes of fixed-size fields, by wire type


@dataclass(frozen=True)
class OnnxSummary:
    """A summary of an ONNX file.

    Attributes:
        metadata: the model's metadata properties.
        nodes: number of nodes of the graph.
        engines: whether the file may contain ready-made engines, which are executable code.
    """

    metadata: dict[str, str]
    nodes: int
    engines: bool

    @classmethod
    def read(cls, path: Path, *, source: str) -> OnnxSummary:
        """Read the summary of a file.

        Raises:
            ModelError: it is not an ONNX file.
        """
        metadata, nodes = {}, 0
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                for number, start, end in _messages(data, 0, len(data)):
                    if number == GRAPH:
                        nodes += sum(part == NODE for part, _, _ in _messages(data, start, end))
                    elif number == METADATA:
                        pair = {part: data[a:b].decode() for part, a, b in _messages(data, start, end)}
                        metadata[pair.get(KEY, "")] = pair.get(VALUE, "")
                engines = data.find(b"EPContext") >= 0
        except (ValueError, IndexError) as problem:
            raise ModelError(f"{source}: expected an ONNX model, found another or a damaged file: {problem}") from None
        return cls(metadata=metadata, nodes=nodes, engines=engines)


def _messages(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field."""
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, at = _varint(data, at)
        elif wire == 2:
            length, at = _varint(data, at)
            if length > end - at:
                raise ValueError(f"{length} bytes of {end - at}")
            yield number, at, at + length
            at += length
        elif wire in WIDTHS:
            at += WIDTHS[wire]
        else:
            raise ValueError(f"a field of kind {wire}")
    if at > end:
        raise ValueError("it ends too early")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 10 bytes")
