"""How large the output of each operator is, for the operators that `spade-edge export` writes.

An operator is allowed if there is a rule here for its output's type and shape. So the memory that a network takes is
known before it runs. Sizes must follow from the input's and from stored numbers, as they do in an exported network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, prod

from spade_edge.runtime.network.onnx_outline import (
    BOOL,
    BYTES,
    FLOAT,
    FLOAT16,
    INT8,
    INT32,
    INT64,
    UINT8,
    Attribute,
    Node,
    Tensor,
    type_name,
)
from spade_edge.runtime.network.onnx_wire import MOST_NUMBERS, UnwrittenError

FLOATING = (FLOAT, FLOAT16)
LARGEST = 2**62  # elements, steps and sizes beyond are none

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A tensor at one point of a run.

    Attributes:
        kind: its element type, a TensorProto.DataType.
        shape: of any number of axes.
        values: its numbers, where they are stored in the file or are sizes computed from the input's.
        stored: whether its numbers are stored in the file.
    """

    kind: int
    shape: Shape
    values: tuple[float, ...] | None = None
    stored: bool = False

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * BYTES[self.kind]

    @classmethod
    def of(cls, tensor: Tensor) -> Value:
        """A stored tensor."""
        return cls(tensor.kind, tensor.shape, tensor.values, stored=True)


@dataclass(frozen=True)
class Step:
    """An operator at work.

    Attributes:
        node: the operator.
        inputs: None where one is left out.
        opset: version of ONNX's operators.
    """

    node: Node
    inputs: tuple[Value | None, ...]
    opset: int

    def input(self, place: int) -> Value:
        """An input that must be there."""
        found = self.optional(place)
        if found is None:
            raise UnwrittenError(f"{len(self.inputs)} inputs")
        return found

    def optional(self, place: int) -> Value | None:
        """An input, or None."""
        return self.inputs[place] if place < len(self.inputs) else None

    def integer(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise UnwrittenError(f"its {name} no whole number")
        return value

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, str):
            raise UnwrittenError(f"its {name} no text")
        return value

    def integers(self, name: str, default: Sequence[int]) -> Shape:
        """An attribute that is a list of whole numbers."""
        return _integers(self.node.attributes.get(name, tuple(default)), name)

    def numbers(self, place: int) -> Shape:
        """The whole numbers of an input that is stored in the file."""
        found = self.input(place)
        if not found.stored or found.values is None:
            raise UnwrittenError("sizes that are computed or too many")
        return _integers(found.values, "sizes")

    def sizes(self, place: int) -> Shape:
        """The whole numbers of an input, stored or computed from the input's size."""
        found = self.input(place)
        if found.values is None:
            raise UnwrittenError("sizes that are known only at run time")
        return _integers(found.values, "sizes")

    def axis(self, default: int, rank: int) -> int:
        """The attribute axis, from 0 to `rank` - 1."""
        return _axis(self.integer("axis", default), rank)


Rule = Callable[[Step], list[Value]]


def outputs(step: Step) -> list[Value]:
    """The outputs of an operator.

    Raises:
        UnwrittenError: there is no such operator in exported networks, or not with these inputs.
    """
    rule = RULES.get(step.node.kind)
    if rule is None:
        raise UnwrittenError("it is not on the list of operators")
    found = rule(step)
    if len(found) < len(step.node.outputs):
        raise UnwrittenError(f"{len(step.node.outputs)} outputs")
    for value in found:
        if min(value.shape, default=1) < 1 or value.elements > LARGEST or len(value.shape) > 8:
            raise UnwrittenError(f"a result of shape {'x'.join(map(str, value.shape[:9]))}")
    return found


def workspace(step: Step, results: Sequence[Value]) -> int:
    """Bytes that an operator may take beside its inputs and outputs.

    A convolution may copy what is around each place: onnxruntime does so in 8 bits and in half precision, for one view
    and one group at a time.
    """
    if step.node.kind not in ("Conv", "ConvTranspose"):
        return 0
    values, weights = step.input(0), step.input(1)
    places = results[0] if step.node.kind == "Conv" else values
    return prod(weights.shape[1:]) * prod(places.shape[2:]) * BYTES[values.kind]


def work(step: Step, results: Sequence[Value]) -> int:
    """Multiplications of an operator, or else the numbers that it reads and writes."""
    read = sum(value.elements for value in step.inputs if value is not None)
    written = sum(value.elements for value in results)
    match step.node.kind:
        case "Conv":
            return written * prod(step.input(1).shape[1:])
        case "ConvTranspose":
            return step.input(0).elements * prod(step.input(1).shape[1:])
        case "MatMul":
            return written * step.input(0).shape[-1]
        case "Gemm":
            return written * step.input(0).shape[0 if step.integer("transA", 0) else 1]
        case "AveragePool" | "MaxPool":
            return written * prod(step.integers("kernel_shape", ()))
        case "Einsum":
            return prod(_labels(step)[1].values())
        case _:
            return read + written


def _integers(values: Attribute | tuple[float, ...], what: str) -> Shape:
    if isinstance(values, tuple) and all(isinstance(one, int) and abs(one) <= 2**63 for one in values):
        return tuple(int(one) for one in values)
    raise UnwrittenError(f"its {what} no list of whole numbers")


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise UnwrittenError(f"axis {axis} of {rank}")
    return axis % rank


def _axes(axes: Sequence[int], rank: int) -> set[int]:
    found = {_axis(axis, rank) for axis in axes}
    if len(found) != len(axes):
        raise UnwrittenError("an axis named twice")
    return found


def _floating(*values: Value) -> None:
    for value in values:
        if value.kind not in FLOATING:
            raise UnwrittenError(f"a tensor of {type_name(value.kind)} in it")


def _rank(value: Value, least: int) -> None:
    if len(value.shape) < least:
        raise UnwrittenError(f"a tensor of {len(value.shape)} axes in it")


def broadcast(*shapes: Shape) -> Shape:
    """The common shape of tensors; an axis of length 1 is repeated.

    Raises:
        UnwrittenError: there is none.
    """
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    common = tuple(max(sizes) for sizes in zip(*padded, strict=True))
    if any(size not in (1, most) for shape in padded for size, most in zip(shape, common, strict=True)):
        raise UnwrittenError("shapes that do not fit each other")
    return common


def _same(step: Step) -> list[Value]:
    """One number for each number."""
    value = step.input(0)
    _floating(value)
    return [Value(value.kind, value.shape)]


def _identity(step: Step) -> list[Value]:
    return [step.input(0)]


def _combined(step: Step) -> list[Value]:
    values = [step.input(place) for place in range(len(step.inputs))]
    if len({value.kind for value in values}) != 1:
        raise UnwrittenError("tensors of several types in it")
    return [Value(values[0].kind, broadcast(*(value.shape for value in values)))]


def _combined_floats(step: Step) -> list[Value]:
    """As `_combined`; in whole numbers, a division by zero ends the process."""
    _floating(*(value for value in step.inputs if value is not None))
    return _combined(step)


def _compared(step: Step) -> list[Value]:
    return [Value(BOOL, broadcast(step.input(0).shape, step.input(1).shape))]


def _where(step: Step) -> list[Value]:
    condition, yes, no = (step.input(place) for place in range(3))
    return [Value(yes.kind, broadcast(condition.shape, yes.shape, no.shape))]


def _cast(step: Step) -> list[Value]:
    kind = step.integer("to", 0)
    if kind not in BYTES:
        raise UnwrittenError(f"a cast to {type_name(kind)}")
    value, whole = step.input(0), (INT32, INT64)
    same = kind in whole and value.kind in whole and max(map(abs, value.values or ()), default=0) < 2**31
    return [Value(kind, value.shape, value.values if same else None)]


def _quantized(step: Step) -> list[Value]:
    zero = step.optional(2)
    kind = UINT8 if zero is None else zero.kind
    if kind not in (UINT8, INT8):
        raise UnwrittenError(f"codes of {type_name(kind)}")
    return [Value(kind, step.input(0).shape)]


def _dequantized(step: Step) -> list[Value]:
    return [Value(step.input(1).kind, step.input(0).shape)]


def _spatial(step: Step, value: Value, kernel: Shape) -> tuple[Shape, Shape, Shape, Shape]:
    """Strides, dilations and padding, before and after, of a convolution or pooling; one number for each axis."""
    axes = len(value.shape) - 2
    if axes < 1 or len(kernel) != axes or min(kernel) < 1:
        raise UnwrittenError(f"a kernel of {len(kernel)} axes for {axes}")
    strides, dilations = (step.integers(name, (1,) * axes) for name in ("strides", "dilations"))
    pads = step.integers("pads", (0,) * (2 * axes))
    if len(strides) != axes or len(dilations) != axes or len(pads) != 2 * axes:
        raise UnwrittenError("strides, dilations or padding of other axes")
    if min(*strides, *dilations) < 1 or min(pads) < 0:
        raise UnwrittenError("strides, dilations or padding below zero")
    return strides, dilations, pads[:axes], pads[axes:]


def _slid(step: Step, value: Value, kernel: Shape, *, up: bool = False) -> Shape:
    """The places of a kernel; with `up`, also one at the end that is not whole."""
    strides, dilations, before, after = _spatial(step, value, kernel)
    padding = step.text("auto_pad", "NOTSET")
    if padding in ("SAME_UPPER", "SAME_LOWER"):
        return tuple(-(-size // stride) for size, stride in zip(value.shape[2:], strides, strict=True))
    if padding != "NOTSET":
        raise UnwrittenError(f"padding '{padding}'")
    places = []
    for size, width, stride, dilation, first, last in zip(
        value.shape[2:], kernel, strides, dilations, before, after, strict=True
    ):
        left = size + first + last - dilation * (width - 1) - 1
        if left < 0:
            raise UnwrittenError(f"a kernel of {width} on {size}")
        count = (left + stride - 1 if up else left) // stride + 1
        # The last one must not start beyond the end.
        places.append(count - 1 if up and (count - 1) * stride >= size + first else count)
    return tuple(places)


def _convolved(step: Step) -> list[Value]:
    value, weights = step.input(0), step.input(1)
    _rank(value, 3)
    group = step.integer("group", 1)
    kernel = step.integers("kernel_shape", weights.shape[2:])
    fits = len(weights.shape) == len(value.shape) and kernel == weights.shape[2:] and group >= 1
    if not fits or value.shape[1] != weights.shape[1] * group or weights.shape[0] % group:
        raise UnwrittenError("weights that do not fit")
    return [Value(value.kind, (value.shape[0], weights.shape[0], *_slid(step, value, kernel)))]


def _transposed_convolution(step: Step) -> list[Value]:
    value, weights = step.input(0), step.input(1)
    _rank(value, 3)
    group, axes = step.integer("group", 1), len(value.shape) - 2
    kernel = step.integers("kernel_shape", weights.shape[2:])
    fits = len(weights.shape) == len(value.shape) and kernel == weights.shape[2:] and group >= 1
    plain = not {"output_shape", "auto_pad"} & step.node.attributes.keys()
    if not fits or not plain or value.shape[1] != weights.shape[0]:
        raise UnwrittenError("weights that do not fit")
    strides, dilations, before, after = _spatial(step, value, kernel)
    more = step.integers("output_padding", (0,) * axes)
    if len(more) != axes or min(more) < 0:
        raise UnwrittenError("padding of other axes")
    places = tuple(
        stride * (size - 1) + extra + dilation * (width - 1) + 1 - first - last
        for size, width, stride, dilation, first, last, extra in zip(
            value.shape[2:], kernel, strides, dilations, before, after, more, strict=True
        )
    )
    return [Value(value.kind, (value.shape[0], weights.shape[1] * group, *places))]


def _pooled(step: Step) -> list[Value]:
    value = step.input(0)
    _rank(value, 3)
    places = _slid(step, value, step.integers("kernel_shape", ()), up=step.integer("ceil_mode", 0) != 0)
    return [Value(value.kind, (*value.shape[:2], *places))]


def _pooled_as_a_whole(step: Step) -> list[Value]:
    value = step.input(0)
    _rank(value, 3)
    return [Value(value.kind, (*value.shape[:2], *(1 for _ in value.shape[2:])))]


def _matrix_product(step: Step) -> list[Value]:
    a, b = step.input(0), step.input(1)
    _floating(a, b)
    _rank(a, 2)
    _rank(b, 2)
    if a.shape[-1] != b.shape[-2]:
        raise UnwrittenError("shapes that do not fit each other")
    return [Value(a.kind, (*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))]


def _general_product(step: Step) -> list[Value]:
    a, b = step.input(0), step.input(1)
    _floating(a, b)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise UnwrittenError("tensors that are no matrices in it")
    rows, inner = a.shape[::-1] if step.integer("transA", 0) else a.shape
    other, columns = b.shape[::-1] if step.integer("transB", 0) else b.shape
    if inner != other:
        raise UnwrittenError("shapes that do not fit each other")
    return [Value(a.kind, (rows, columns))]


def _labels(step: Step) -> tuple[str, dict[str, int]]:
    """The result's axes of an Einsum, and the length of each axis."""
    terms, arrow, result = step.text("equation", "").replace(" ", "").partition("->")
    named = terms.split(",")
    if not arrow or len(named) != len(step.inputs) or not all(term.isalpha() for term in (*named, result)):
        raise UnwrittenError("an equation without letters for all axes")
    lengths: dict[str, int] = {}
    for place, term in enumerate(named):
        shape = step.input(place).shape
        if len(term) != len(shape):
            raise UnwrittenError("an equation for other axes")
        for letter, length in zip(term, shape, strict=True):
            if lengths.setdefault(letter, length) != length:
                raise UnwrittenError("shapes that do not fit each other")
    if len(set(result)) != len(result) or not set(result) <= lengths.keys():
        raise UnwrittenError("an equation for other axes")
    return result, lengths


def _einsum(step: Step) -> list[Value]:
    result, lengths = _labels(step)
    _floating(*(value for value in step.inputs if value is not None))
    return [Value(step.input(0).kind, tuple(lengths[letter] for letter in result))]


def _transposed(step: Step) -> list[Value]:
    value = step.input(0)
    order = step.integers("perm", range(len(value.shape))[::-1])
    if sorted(order) != list(range(len(value.shape))):
        raise UnwrittenError("an order of other axes")
    return [Value(value.kind, tuple(value.shape[axis] for axis in order))]


def _reshaped(step: Step) -> list[Value]:
    value, wanted = step.input(0), list(step.sizes(1))
    for place, size in enumerate(wanted):
        if size == 0 and not step.integer("allowzero", 0) and place < len(value.shape):
            wanted[place] = value.shape[place]
    known = prod(size for size in wanted if size != -1)
    if wanted.count(-1) == 1 and known > 0 and value.elements % known == 0:
        wanted[wanted.index(-1)] = value.elements // known
    if min(wanted, default=1) < 1 or prod(wanted) != value.elements:
        raise UnwrittenError("a shape of another size")
    return [Value(value.kind, tuple(wanted), value.values, value.stored)]


def _flattened(step: Step) -> list[Value]:
    value = step.input(0)
    axis = step.axis(1, len(value.shape) + 1) if step.integer("axis", 1) >= 0 else step.axis(1, len(value.shape))
    return [Value(value.kind, (prod(value.shape[:axis]), prod(value.shape[axis:])))]


def _squeezed(step: Step) -> list[Value]:
    value = step.input(0)
    ones = [axis for axis, size in enumerate(value.shape) if size == 1]
    axes = _axes(step.numbers(1), len(value.shape)) if step.optional(1) else set(ones)
    if not axes <= set(ones):
        raise UnwrittenError("an axis that is not of length 1")
    shape = tuple(size for axis, size in enumerate(value.shape) if axis not in axes)
    return [Value(value.kind, shape, value.values, value.stored)]


def _unsqueezed(step: Step) -> list[Value]:
    value, axes = step.input(0), step.numbers(1)
    rank = len(value.shape) + len(axes)
    new, sizes = _axes(axes, rank), iter(value.shape)
    shape = tuple(1 if axis in new else next(sizes) for axis in range(rank))
    return [Value(value.kind, shape, value.values, value.stored)]


def _joined(step: Step) -> list[Value]:
    first, values = step.input(0), [step.input(place) for place in range(len(step.inputs))]
    _rank(first, 1)
    axis = step.axis(LARGEST, len(first.shape))
    for value in values:
        same = len(value.shape) == len(first.shape) and value.kind == first.kind
        if not same or any(
            size != other for i, (size, other) in enumerate(zip(value.shape, first.shape, strict=True)) if i != axis
        ):
            raise UnwrittenError("shapes or types that do not fit each other")
    shape = list(first.shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    known = None
    if len(shape) == 1 and shape[0] <= MOST_NUMBERS and all(value.values is not None for value in values):
        known = tuple(number for value in values for number in value.values or ())
    return [Value(first.kind, tuple(shape), known)]


def _split(step: Step) -> list[Value]:
    value = step.input(0)
    axis, count = step.axis(0, len(value.shape)), len(step.node.outputs)
    size = value.shape[axis]
    if step.optional(1):
        parts = step.numbers(1)
    else:
        each = -(-size // max(step.integer("num_outputs", count), 1))
        parts = tuple(min(each, size - place * each) for place in range(count))
    if len(parts) != count or sum(parts) != size or min(parts, default=0) < 1:
        raise UnwrittenError("parts of another size")
    return [Value(value.kind, (*value.shape[:axis], part, *value.shape[axis + 1 :])) for part in parts]


def _sliced(step: Step) -> list[Value]:
    value = step.input(0)
    starts, ends = step.numbers(1), step.numbers(2)
    axes = step.numbers(3) if step.optional(3) else tuple(range(len(starts)))
    steps = step.numbers(4) if step.optional(4) else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise UnwrittenError("starts and ends of other axes")
    _axes(axes, len(value.shape))
    shape = list(value.shape)
    for start, end, axis, pace in zip(starts, ends, axes, steps, strict=True):
        place = _axis(axis, len(shape))
        shape[place] = len(range(*slice(start, end, pace).indices(shape[place])))
    known = value.values
    if known is not None:
        known = known[slice(starts[0], ends[0], steps[0])] if len(value.shape) == len(starts) == 1 else None
    return [Value(value.kind, tuple(shape), known)]


def _gathered(step: Step) -> list[Value]:
    value, places = step.input(0), step.input(1)
    _rank(value, 1)
    axis = step.axis(0, len(value.shape))
    shape = (*value.shape[:axis], *places.shape, *value.shape[axis + 1 :])
    known = None
    if len(value.shape) == 1 and value.values is not None and places.stored and places.values is not None:
        wanted = [_axis(place, len(value.values)) for place in _integers(places.values, "places")]
        known = tuple(value.values[place] for place in wanted)
    return [Value(value.kind, shape, known)]


def _repeated(step: Step) -> list[Value]:
    value, sizes = step.input(0), step.sizes(1)
    if min(sizes, default=1) < 1:
        raise UnwrittenError("a shape of no size")
    return [Value(value.kind, broadcast(value.shape, sizes))]


def _tiled(step: Step) -> list[Value]:
    value, repeats = step.input(0), step.sizes(1)
    if len(repeats) != len(value.shape) or min(repeats, default=1) < 1:
        raise UnwrittenError("repeats of other axes")
    return [Value(value.kind, tuple(size * times for size, times in zip(value.shape, repeats, strict=True)))]


def _padded(step: Step) -> list[Value]:
    value, pads = step.input(0), step.numbers(1)
    rank = len(value.shape)
    axes = step.numbers(3) if step.optional(3) else tuple(range(rank))
    if len(pads) != 2 * len(axes):
        raise UnwrittenError("padding of other axes")
    _axes(axes, rank)
    shape = list(value.shape)
    for place, axis in enumerate(axes):
        shape[_axis(axis, rank)] += pads[place] + pads[place + len(axes)]
    return [Value(value.kind, tuple(shape))]


def _resized(step: Step) -> list[Value]:
    value = step.input(0)
    _floating(value)
    if "axes" in step.node.attributes or step.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnwrittenError("some axes, or a kept aspect")
    if step.optional(3):
        shape = step.sizes(3)
    else:
        scales = step.input(2)
        if not scales.stored or scales.values is None or not all(0 < one < LARGEST for one in scales.values):
            raise UnwrittenError("scales that are computed, or not above zero")
        if len(scales.values) != len(value.shape):
            raise UnwrittenError("scales of other axes")
        shape = tuple(floor(size * scale) for size, scale in zip(value.shape, scales.values, strict=True))
    if len(shape) != len(value.shape):
        raise UnwrittenError("sizes of other axes")
    return [Value(value.kind, shape)]


def _reduced(step: Step) -> list[Value]:
    value = step.input(0)
    rank = len(value.shape)
    if step.optional(1):
        axes = _axes(step.numbers(1), rank)
    elif "axes" in step.node.attributes:
        axes = _axes(step.integers("axes", ()), rank)
    else:
        axes = set() if step.integer("noop_with_empty_axes", 0) else set(range(rank))
    kept = step.integer("keepdims", 1) != 0
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape) if kept or axis not in axes)
    return [Value(value.kind, shape)]


def _depth_to_space(step: Step) -> list[Value]:
    value, block = step.input(0), step.integer("blocksize", 0)
    if len(value.shape) != 4 or block < 1 or value.shape[1] % block**2:
        raise UnwrittenError("a block that does not fit")
    batch, channels, rows, columns = value.shape
    return [Value(value.kind, (batch, channels // block**2, rows * block, columns * block))]


def _space_to_depth(step: Step) -> list[Value]:
    value, block = step.input(0), step.integer("blocksize", 0)
    if len(value.shape) != 4 or block < 1 or value.shape[2] % block or value.shape[3] % block:
        raise UnwrittenError("a block that does not fit")
    batch, channels, rows, columns = value.shape
    return [Value(value.kind, (batch, channels * block**2, rows // block, columns // block))]


def _shape(step: Step) -> list[Value]:
    shape = step.input(0).shape[step.integer("start", 0) : step.integer("end", 8)]
    return [Value(INT64, (len(shape),), shape)]


def _constant(step: Step) -> list[Value]:
    value = next(iter(step.node.attributes.values()), None)
    if list(step.node.attributes) == ["value"] and isinstance(value, Tensor):
        return [Value.of(value)]
    match list(step.node.attributes), value:
        case ["value_float"], float():
            return [Value(FLOAT, (), (value,), stored=True)]
        case ["value_int"], int():
            return [Value(INT64, (), (value,), stored=True)]
        case ["value_ints"], tuple():
            return [Value(INT64, (len(value),), value, stored=True)]
    raise UnwrittenError("a constant of another kind")


FUNCTIONS = (
    "Abs", "BatchNormalization", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "GroupNormalization",
    "HardSigmoid", "HardSwish", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax",
    "LpNormalization", "Mish", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus",
    "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
)  # fmt: skip
REDUCTIONS = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(FUNCTIONS, _same),
    **dict.fromkeys(("Add", "Max", "Mean", "Min", "Mul", "PRelu", "Sub", "Sum"), _combined),
    **dict.fromkeys(("Div", "Pow"), _combined_floats),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), _compared),
    **dict.fromkeys((f"Reduce{how}" for how in REDUCTIONS), _reduced),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _pooled_as_a_whole),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pooled),
    "Cast": _cast,
    "Concat": _joined,
    "Constant": _constant,
    "Conv": _convolved,
    "ConvTranspose": _transposed_convolution,
    "DepthToSpace": _depth_to_space,
    "DequantizeLinear": _dequantized,
    "Einsum": _einsum,
    "Expand": _repeated,
    "Flatten": _flattened,
    "Gather": _gathered,
    "Gemm": _general_product,
    "Identity": _identity,
    "MatMul": _matrix_product,
    "Pad": _padded,
    "QuantizeLinear": _quantized,
    "Reshape": _reshaped,
    "Resize": _resized,
    "Shape": _shape,
    "Slice": _sliced,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeezed,
    "Tile": _tiled,
    "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
    "Where": _where,
}
