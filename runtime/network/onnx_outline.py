"""The outline of an ONNX file, read before onnxruntime reads the file: everything but the weights.

An ONNX file from a stranger can hold what hangs onnxruntime, fills the memory or ends the process, such as loops and
functions that call each other. Here each part of the file is something that `spade-edge export` writes, or the file is
refused. Weights are skipped by their length, so the time does not depend on their size.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from math import prod
from pathlib import Path

import numpy as np

from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.legible import legible
from spade_edge.runtime.network.onnx_wire import (
    FOUR,
    LENGTH,
    MOST_NUMBERS,
    VARINT,
    Layout,
    Message,
    Span,
    UnwrittenError,
    Wire,
    signed,
)

FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16 = 1, 2, 3, 6, 7, 9, 10  # TensorProto.DataType
BYTES = {FLOAT: 4, UINT8: 1, INT8: 1, INT32: 4, INT64: 8, BOOL: 1, FLOAT16: 2}
TYPE_NAMES = {
    FLOAT: "float32", UINT8: "uint8", INT8: "int8", 4: "uint16", 5: "int16", INT32: "int32", INT64: "int64", 8: "text",
    BOOL: "bool", FLOAT16: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
    16: "bfloat16",
}  # fmt: skip
NUMPY = {FLOAT: "<f4", INT32: "<i4", INT64: "<i8"}  # of which small tensors are read
FLOATS, INTS = 6, 7  # AttributeProto.AttributeType
OWN_DOMAINS = ("", "ai.onnx")
OPSETS = range(13, 24)  # since 13, axes and sizes are tensors
MOST_NODES, MOST_TENSORS, MOST_AXES = 20_000, 20_000, 8

# The messages of onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
MODEL = Layout(
    "the model",
    numbers={1: "ir_version"},
    texts={},
    parts={7: "graph", 8: "opset_import", 14: "metadata_props"},
    lists=frozenset({"opset_import", "metadata_props"}),
    ignored=frozenset({2, 3, 4, 5, 6}),  # who made it, and remarks
    unwritten={20: "training", 25: "functions of its own", 26: "a configuration for several devices"},
)
OPSET = Layout("an operator set", numbers={2: "version"}, texts={1: "domain"}, parts={})
PROPERTY = Layout("the metadata", numbers={}, texts={1: "key", 2: "value"}, parts={})
GRAPH = Layout(
    "the graph",
    numbers={},
    texts={},
    parts={1: "node", 5: "initializer", 11: "input", 12: "output", 13: "value_info"},
    lists=frozenset({"node", "initializer", "input", "output", "value_info"}),
    ignored=frozenset({2, 10}),  # its name and remarks
    unwritten={15: "sparse weights"},
)
NODE = Layout(
    "an operator",
    numbers={},
    texts={1: "input", 2: "output", 3: "name", 4: "op_type", 7: "domain"},
    parts={5: "attribute"},
    lists=frozenset({"input", "output", "attribute"}),
    ignored=frozenset({6}),
    unwritten={8: "functions of its own"},
)
TENSOR = Layout(
    "a tensor",
    numbers={2: "data_type", 14: "data_location"},
    texts={8: "name"},
    parts={},
    ignored=frozenset({1, 4, 5, 7, 9, 12}),  # dimensions and numbers, which _tensor reads, and remarks
    unwritten={13: "weights in other files", 6: "text", 10: "a tensor of float64", 11: "a tensor of uint64"},
)
PORT = Layout("an input or output", numbers={}, texts={1: "name"}, parts={2: "type"}, ignored=frozenset({3}))
TYPE = Layout(
    "a type",
    numbers={},
    texts={},
    parts={1: "tensor"},
    ignored=frozenset({6}),
    unwritten={4: "a sequence", 5: "a map", 8: "a sparse tensor", 9: "an optional value"},
)
TENSOR_TYPE = Layout("a type", numbers={1: "elem_type"}, texts={}, parts={2: "shape"})
SHAPE = Layout("a shape", numbers={}, texts={}, parts={1: "dim"}, lists=frozenset({"dim"}))
AXIS = Layout("an axis", numbers={1: "value"}, texts={2: "name"}, parts={}, ignored=frozenset({3}))
ATTRIBUTE = {
    (1, LENGTH): "name",
    (20, VARINT): "type",
    (2, FOUR): "decimal",
    (3, VARINT): "integer",
    (4, LENGTH): "text",
    (5, LENGTH): "tensor",
    (7, FOUR): "decimals",
    (7, LENGTH): "decimals",
    (8, VARINT): "integers",
    (8, LENGTH): "integers",
    (13, LENGTH): "remarks",
}  # fields of an attribute, each with its kind of content
GRAPHS = (6, 11)  # fields of an attribute that hold graphs
DIMENSIONS, RAW, DATA = 1, 9, (4, 5, 7, 9)  # fields of a tensor
IN_FIELD = {FLOAT: 4, UINT8: 5, INT8: 5, INT32: 5, BOOL: 5, FLOAT16: 5, INT64: 7}  # which has its numbers, if not RAW
FIRST = b"\x08"  # a model begins with its ir_version, field 1, as writers follow the order of fields


@dataclass(frozen=True)
class Tensor:
    """A tensor that is stored in the file.

    Attributes:
        name: of a weight; empty in an attribute.
        kind: its element type, a TensorProto.DataType.
        shape: of any number of axes.
        values: of int64, int32 or float32 tensors of at most 1,024 numbers; else None.
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    values: tuple[float, ...] | None


@dataclass(frozen=True)
class Port:
    """An input or output; `shape` has None where an axis is free, and is None itself where none is stated."""

    name: str
    kind: int
    shape: tuple[int | None, ...] | None


Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | Tensor


@dataclass(frozen=True)
class Node:
    """An operator; names of inputs and outputs are empty where they are left out."""

    kind: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class OnnxOutline:
    """The outline of an ONNX file.

    Attributes:
        size: of the file, in bytes.
        metadata: the model's metadata properties.
        opset: version of ONNX's own operators.
        inputs, outputs: of the graph.
        nodes: each after those that it depends on.
        weights: tensors by name.
    """

    size: int
    metadata: Mapping[str, str]
    opset: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    weights: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: Path, *, source: str) -> OnnxOutline:
        """Read the outline of a file.

        Args:
            path: the ONNX file.
            source: what messages call it.

        Raises:
            ModelError: it is not an ONNX file, or holds what `spade-edge export` never writes.
        """
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if data[:1] != FIRST:
                    raise ValueError("it does not begin as one")
                return _outline(Wire(data))
        except UnwrittenError as found:
            raise ModelError(
                f"{source}: expected a network as 'spade-edge export' writes it, found {found}; export the model again"
            ) from None
        except ValueError as problem:  # UnicodeDecodeError is one
            raise ModelError(
                f"{source}: expected an ONNX model, found another or a damaged file: {problem}; export the model again"
            ) from None


def shown(name: str) -> str:
    """A name from a file, for people: short, and one printable line."""
    line = legible(name)
    return line if len(line) <= 60 else f"{line[:57]}..."


def _outline(wire: Wire) -> OnnxOutline:
    model = wire.message((0, len(wire)), MODEL)
    if model.one("graph") is None:
        raise ValueError("no graph in it")
    graph = wire.message(model.one("graph"), GRAPH)
    for name, most in (("node", MOST_NODES), ("initializer", MOST_TENSORS), ("value_info", MOST_NODES)):
        if len(graph.all(name)) > most:
            raise UnwrittenError(f"{len(graph.all(name)):,} of '{name}', more than {most:,}")
    nodes = tuple(_node(wire, span) for span in graph.all("node"))
    inputs, outputs, _ = (
        tuple(_port(wire, span) for span in graph.all(name)) for name in ("input", "output", "value_info")
    )
    weights = [_tensor(wire, span) for span in graph.all("initializer")]
    _check_names(inputs, weights, nodes)
    return OnnxOutline(
        size=len(wire),
        metadata=_metadata(wire, model),
        opset=_opset(wire, model),
        inputs=inputs,
        outputs=outputs,
        nodes=_ordered(nodes),
        weights={tensor.name: tensor for tensor in weights},
    )


def _metadata(wire: Wire, model: Message) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for span in model.all("metadata_props"):
        pair = wire.message(span, PROPERTY)
        key = str(pair.one("key", ""))
        if key in metadata:
            raise UnwrittenError(f"two properties '{shown(key)}'")
        metadata[key] = str(pair.one("value", ""))
    return metadata


def _opset(wire: Wire, model: Message) -> int:
    """The version of ONNX's own operators; others may be imported, but no operator may come from there."""
    sets = [wire.message(span, OPSET) for span in model.all("opset_import")]
    own = [one.one("version", 0) for one in sets if one.one("domain", "") in OWN_DOMAINS]
    if len(own) != 1 or own[0] not in OPSETS:
        raise UnwrittenError(f"opset {', '.join(map(str, own)) or 'none'}, not one of {OPSETS[0]} to {OPSETS[-1]}")
    return int(own[0])


def _check_names(inputs: Iterable[Port], weights: Iterable[Tensor], nodes: Iterable[Node]) -> None:
    """Each value has one name, and something that makes it."""
    known: set[str] = set()
    for name in (*(port.name for port in inputs), *(tensor.name for tensor in weights)):
        _add(known, name)
    for node in nodes:
        for name in filter(None, node.outputs):
            _add(known, name)
    for node in nodes:
        for name in filter(None, node.inputs):
            if name not in known:
                raise UnwrittenError(f"the operator {shown(node.kind)}: it takes '{shown(name)}', which is not there")


def _ordered(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Nodes after those that they depend on, as files have them, but for those of some converters."""
    maker = {name: place for place, node in enumerate(nodes) for name in node.outputs if name}
    needed = [{maker[name] for name in node.inputs if name in maker} for node in nodes]
    if all(max(makers, default=-1) < place for place, makers in enumerate(needed)):
        return nodes
    try:
        return tuple(nodes[place] for place in TopologicalSorter(dict(enumerate(needed))).static_order())
    except CycleError:
        raise UnwrittenError("operators that depend on each other in a circle") from None


def _add(known: set[str], name: str) -> None:
    if not name or name in known:
        raise UnwrittenError(f"two values of the name '{shown(name)}'" if name else "a value without a name")
    known.add(name)


def _port(wire: Wire, span: Span) -> Port:
    port = wire.message(span, PORT)
    name = str(port.one("name", ""))
    tensor = None if port.one("type") is None else wire.message(port.one("type"), TYPE).one("tensor")
    if tensor is None:
        raise UnwrittenError(f"'{shown(name)}' without a type")
    found = wire.message(tensor, TENSOR_TYPE)
    shape: tuple[int | None, ...] | None = None
    if found.one("shape") is not None:
        axes = wire.message(found.one("shape"), SHAPE).all("dim")
        if len(axes) > MOST_AXES:
            raise UnwrittenError(f"'{shown(name)}' of {len(axes)} axes")
        shape = tuple(wire.message(axis, AXIS).one("value") for axis in axes)
    return Port(name, int(found.one("elem_type", 0)), shape)


def _node(wire: Wire, span: Span) -> Node:
    node = wire.message(span, NODE)
    kind = str(node.one("op_type", ""))
    attributes: dict[str, Attribute] = {}
    for place in node.all("attribute"):
        name, value = _attribute(wire, place, kind=shown(kind))
        if name in attributes:
            raise UnwrittenError(f"a {shown(kind)} with two of '{shown(name)}'")
        attributes[name] = value
    return Node(kind, str(node.one("domain", "")), tuple(node.all("input")), tuple(node.all("output")), attributes)


def _attribute(wire: Wire, span: Span, *, kind: str) -> tuple[str, Attribute]:
    """Name and value of an attribute: a number, a text, a list of numbers or a tensor."""
    name, type_of = "", 0
    integers, decimals = list[int](), list[float]()
    given: dict[int, Attribute] = {}  # by AttributeProto.AttributeType
    for number, content, value, end in wire.fields(span):
        what = ATTRIBUTE.get((number, content))
        if what is None:
            raise UnwrittenError(
                f"{kind}, a graph inside the graph"
                if number in GRAPHS
                else f"{kind} with field {number} of an attribute"
            )
        if what == "name":
            name = wire.text((value, end))
        elif what == "type":
            type_of = value
        elif what == "integers":
            integers += wire.integers((value, end)) if content == LENGTH else (signed(value),)
        elif what == "decimals":
            decimals += wire.decimals((value, end))
        elif what == "remarks":
            pass
        else:
            type_found, single = _single(wire, what, value, end)
            given[type_found] = single
    if max(len(integers), len(decimals)) > MOST_NUMBERS:
        raise UnwrittenError(f"a {kind} with more than {MOST_NUMBERS} numbers in its attribute '{shown(name)}'")
    if decimals or type_of == FLOATS:
        given[FLOATS] = tuple(decimals)
    if integers or type_of == INTS:
        given[INTS] = tuple(integers)
    if list(given) != [type_of]:
        raise UnwrittenError(f"a {kind} whose attribute '{shown(name)}' is not one value of its type")
    return name, given[type_of]


def _single(wire: Wire, what: str, value: int, end: int) -> tuple[int, Attribute]:
    """The value of an attribute that is no list, after its type."""
    match what:
        case "integer":
            return 2, signed(value)
        case "decimal":
            return 1, wire.decimals((value, end))[0]
        case "text":
            return 3, wire.text((value, end))
    return 4, _tensor(wire, (value, end))


def _tensor(wire: Wire, span: Span) -> Tensor:
    """A stored tensor, whose numbers are all in the file."""
    tensor = wire.message(span, TENSOR)
    name, kind = shown(str(tensor.one("name", ""))), int(tensor.one("data_type", 0))
    if tensor.one("data_location", 0) != 0:
        raise UnwrittenError("weights in other files")
    if kind not in BYTES:
        raise UnwrittenError(f"a tensor of {type_name(kind)}")
    shape: list[int] = []
    stored: int | None = None
    values: tuple[float, ...] = ()
    for number, content, value, end in wire.fields(span):
        if number == DIMENSIONS:
            shape += wire.integers((value, end)) if content == LENGTH else (signed(value),)
        elif number in DATA:
            if content != LENGTH or number not in (RAW, IN_FIELD[kind]) or stored is not None:
                raise UnwrittenError(
                    f"'{name}', a tensor of {type_name(kind)} that is stored in two ways or a wrong one"
                )
            stored, values = _numbers(wire, (value, end), number=number, kind=kind)
    if len(shape) > MOST_AXES or any(axis < 0 for axis in shape):
        raise UnwrittenError(f"'{name}', a tensor of {len(shape)} axes or of negative size")
    if prod(shape) != (stored or 0):
        raise UnwrittenError(f"'{name}', a tensor of {prod(shape):,} numbers of which {stored or 0:,} are in the file")
    known = values if kind in NUMPY and prod(shape) <= MOST_NUMBERS else None
    return Tensor(str(tensor.one("name", "")), kind, tuple(shape), known)


def _numbers(wire: Wire, span: Span, *, number: int, kind: int) -> tuple[int, tuple[float, ...]]:
    """How many numbers a field of a tensor holds, and the first of them, if their type is read."""
    if number in (RAW, IN_FIELD[FLOAT]):
        found, remainder = divmod(span[1] - span[0], BYTES[kind])
        if remainder:
            raise ValueError(f"numbers of {type_name(kind)} that are cut off")
        if kind not in NUMPY or found > MOST_NUMBERS:
            return found, ()
        return found, tuple(np.frombuffer(wire.content(span), NUMPY[kind]).tolist())
    return wire.count(span), wire.integers(span)


def type_name(kind: int) -> str:
    """The name of an element type."""
    return TYPE_NAMES.get(kind, f"type {kind}")
