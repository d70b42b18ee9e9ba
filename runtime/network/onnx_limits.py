"""What a model may be: inputs and outputs as its card says, operators that `spade-edge export` writes, bounded effort.

How large each tensor is follows from the size of the views. So what a run takes is known before onnxruntime sees the
file, and a graph that doubles a tensor forty times is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.network.card import INPUT, ModelCard
from spade_edge.runtime.network.onnx_outline import FLOAT, OWN_DOMAINS, Node, OnnxOutline, Port, shown, type_name
from spade_edge.runtime.network.onnx_shapes import Step, Value, outputs, work, workspace
from spade_edge.runtime.network.onnx_wire import UnwrittenError

# Of 80 networks of torchvision's and timm's, in all precisions, the largest were 20 times the views and outputs for
# memory, and .011 operations for each byte of the file and pixel.
MEMORY_PER_VIEW = 64  # times the bytes of the views and of the outputs
MEMORY_PER_WEIGHT = 4  # times the bytes of the file: int8 weights may be stored and used as float32
BYTES_PER_OPERATION = 4  # of the file, at each pixel: as if every float32 were used at every pixel
MOST_VIEWS = 1024  # of a file with a fixed batch
CONSTANT = ("Constant", "DequantizeLinear")  # operators that may depend on nothing but the file


@dataclass(frozen=True)
class Effort:
    """What a run of a network takes.

    Attributes:
        values: every tensor by name.
        memory: the most bytes that tensors take at one time, beside the weights in the file.
        work: multiplications and other single operations.
    """

    values: Mapping[str, Value]
    memory: int
    work: int


def check_limits(outline: OnnxOutline, card: ModelCard, *, views: int, source: str) -> None:
    """Refuse a model that `spade-edge export` would not have written.

    Args:
        outline: of the file.
        card: in the file.
        views: the most in one run.
        source: what messages call the model.

    Raises:
        ModelError: inputs or outputs that differ from the card, an operator that is not allowed, or more memory or work
            than a network of that size takes.
    """
    try:
        if any(node.kind == "EPContext" for node in outline.nodes):
            raise UnwrittenError("a ready-made engine in it, which is executable code")
        views = _check_ports(outline, card) or views
        found = effort(outline, views=views, size=card.view.size)
        _check_results(found, card, views=views)
        _check_effort(found, outline, card, views=views)
    except UnwrittenError as problem:
        raise ModelError(
            f"{source}: expected a network as 'spade-edge export' writes it, found {problem}; export the model again"
        ) from None


def effort(outline: OnnxOutline, *, views: int, size: tuple[int, int]) -> Effort:
    """Work out what a run takes.

    Args:
        outline: of a file whose only input is the views.
        views: in the run.
        size: (height, width) of a view.

    Raises:
        UnwrittenError: an operator that `export` never writes, or sizes that do not fit.
    """
    frames = Value(FLOAT, (views, *size, 3))
    values = {name: Value.of(tensor) for name, tensor in outline.weights.items()} | {INPUT: frames}
    last = {name: place for place, node in enumerate(outline.nodes) for name in node.inputs}
    last |= {port.name: len(outline.nodes) for port in outline.outputs}
    moving = {INPUT}  # what depends on the views; the rest is computed when the file is opened, and stays
    held = most = frames.bytes
    total = 0
    for place, node in enumerate(outline.nodes):
        step = Step(node, tuple(values[name] if name else None for name in node.inputs), outline.opset)
        moves = not moving.isdisjoint(node.inputs)
        try:
            if node.domain not in OWN_DOMAINS:
                raise UnwrittenError("not one of ONNX's own")
            if not moves and node.kind not in CONSTANT:
                raise UnwrittenError("it does not depend on the views")
            results = outputs(step)
            held += sum(value.bytes for value in results)
            most = max(most, held + workspace(step, results))
            total += work(step, results)
        except UnwrittenError as found:
            raise UnwrittenError(f"the operator {_named(node)}: {found}") from None
        made = dict(zip(node.outputs, results, strict=False))
        values |= made
        if moves:
            moving.update(made)
            held -= sum(value.bytes for value in results[len(made) :])
            held -= sum(values[name].bytes for name in {*node.inputs, *made} & moving if last.get(name, place) == place)
    return Effort(values, most, total)


def _named(node: Node) -> str:
    return shown(f"{node.domain}::{node.kind}" if node.domain else node.kind)


def _check_ports(outline: OnnxOutline, card: ModelCard) -> int | None:
    """Compare the stated inputs and outputs with the card; returns a fixed number of views, or None for a free one."""
    names = [port.name for port in outline.inputs]
    if names != [INPUT]:
        raise UnwrittenError(f"the inputs {', '.join(map(shown, names)) or 'none'} instead of {INPUT}")
    names = [port.name for port in outline.outputs]
    if sorted(names) != sorted(card.outputs):
        found = ", ".join(map(shown, names)) or "none"
        raise UnwrittenError(f"the outputs {found} instead of {', '.join(card.outputs)}")
    expected = {INPUT: (*card.view.size, 3)} | card.output_shapes()
    batches = {_batch(port, expected[port.name]) for port in (*outline.inputs, *outline.outputs)}
    if len(batches) != 1:
        raise UnwrittenError("a fixed number of views in some inputs and outputs only")
    (batch,) = batches
    if batch is not None and not 1 <= batch <= MOST_VIEWS:
        raise UnwrittenError(f"{batch} views in one run")
    return batch


def _batch(port: Port, expected: tuple[int, ...]) -> int | None:
    """The first axis of an input or output whose other axes are as expected."""
    if port.kind != FLOAT or port.shape is None or port.shape[1:] != expected or not port.shape:
        shape = (
            "any shape" if port.shape is None else "x".join("N" if axis is None else str(axis) for axis in port.shape)
        )
        wanted = "x".join(map(str, ("N", *expected)))
        raise UnwrittenError(f"'{shown(port.name)}' {shape} {type_name(port.kind)} instead of {wanted} float32")
    return port.shape[0]


def _check_results(found: Effort, card: ModelCard, *, views: int) -> None:
    """Compare what the graph computes with the card."""
    for name, shape in card.output_shapes().items():
        value = found.values.get(name)
        if value is None:
            raise UnwrittenError(f"nothing that computes the output {name}")
        if (value.kind, value.shape) != (FLOAT, (views, *shape)):
            computed, wanted = ("x".join(map(str, x)) for x in (value.shape, (views, *shape)))
            raise UnwrittenError(
                f"that {name} is computed as {computed} {type_name(value.kind)} instead of {wanted} float32"
            )


def _check_effort(found: Effort, outline: OnnxOutline, card: ModelCard, *, views: int) -> None:
    """Refuse what takes more memory or work than networks of this size do."""
    pixels = views * prod(card.view.size)
    ends = 4 * (3 * pixels + views * sum(map(prod, card.output_shapes().values())))
    memory = MEMORY_PER_VIEW * ends + MEMORY_PER_WEIGHT * outline.size
    if found.memory > memory:
        raise UnwrittenError(
            f"one that takes {_size(found.memory)} for {views} views, more than networks of its size ({_size(memory)})"
        )
    if found.work > pixels * outline.size // BYTES_PER_OPERATION:
        raise UnwrittenError(
            f"one that takes {found.work:.1e} operations for {views} views, more than networks of its size"
        )


def _size(count: int) -> str:
    """A number of bytes, for people."""
    if count >= 10**15:
        return "more than a million GB"
    return f"{count / 1e9:,.1f} GB" if count >= 10**9 else f"{count / 1e6:,.0f} MB"
