"""Lint: can devices run an ONNX file, with onnxruntime on a CPU or TensorRT on a Jetson?

report = lint(Path("model.onnx"))
report.fit("tensorrt"), [finding.found for finding in report.reasons("tensorrt")]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, ValueInfoProto

from spade_edge.export.lint_finding import CPU, REFUSED, TARGETS, TENSORRT, WARNING, Finding, clean, kind_of
from spade_edge.export.onnx_graph import OnnxGraph, read_model, shape_of
from spade_edge.export.tensorrt_parser import (
    check_domains,
    check_operators,
    check_quantization,
    check_restrictions,
    check_sizes,
    check_types,
    type_name,
)
from spade_edge.runtime.errors import DeviceError, ModelError
from spade_edge.runtime.kernels import ort
from spade_edge.runtime.network.card import INPUT, METADATA_KEY, ModelCard
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.network.tensorrt import VERSIONS, computes

# Measured: onnxruntime 1.17.0, the oldest supported version, opens IR 3 to 9 and opset 6 to 20; 1.23.2, the newest for
# JetPack 6, IR up to 11 and opset up to 23. onnxruntime guarantees opset 7 and newer; TensorRT's list starts at 9.
NEWEST_IR, NEWEST_OPSET = 9, 20
NEWEST_ML = 4  # of ai.onnx.ml (1.23.2: 5); onnxruntime's tools import it even where it is not used
OLDEST_OPSET = {CPU: 7, TENSORRT: 9}


@dataclass(frozen=True)
class LintReport:
    """What a file contains, and which targets it is fit for.

    Attributes:
        source: what messages call the file.
        size: in bytes.
        ir_version, opset: as stated in the file.
        precision: "fp32", "fp16" or "int8", as found in the graph.
        quantization: None; "signed" or "unsigned" for Q/DQ pairs; "operators" for integer operators.
        made_for: the targets that the file was made for: both, or the one that it was quantized for.
        batch: the number of views that the input takes, None for any.
        operators: the number of nodes of each type, most frequent first.
        findings: those that refuse the file first.
    """

    source: str
    size: int
    ir_version: int
    opset: int
    precision: str
    quantization: str | None
    made_for: tuple[str, ...]
    batch: int | None
    operators: tuple[tuple[str, int], ...]
    findings: tuple[Finding, ...]

    def reasons(self, target: str) -> tuple[Finding, ...]:
        """Why the file is refused for a target, "cpu" or "tensorrt"."""
        return tuple(x for x in self.findings if x.severity == REFUSED and target in x.targets)

    def fit(self, target: str) -> bool:
        """Whether the file is not refused for a target."""
        return not self.reasons(target)

    def refusals(self, version: int) -> tuple[Finding, ...]:
        """Why the file is refused for a major version of TensorRT (8, 10, 11); empty if it is not."""
        return tuple(x for x in self.findings if x.refuses(version))

    def on_tensorrt(self, version: int) -> str:
        """What a major version of TensorRT makes of the file, in words."""
        checks = ", ".join(dict.fromkeys(x.check for x in self.refusals(version)))
        return f"no, refused: {checks}" if checks else f"yes, computes {computes(self.precision, version=str(version))}"

    def to_json(self) -> dict[str, Any]:
        verdicts = {
            target: {"fit": self.fit(target), "reasons": [asdict(x) for x in self.reasons(target)]}
            for target in TARGETS
        }
        own = {{"quantization": "quantisation"}.get(name, name): value for name, value in asdict(self).items()}
        versions = {str(x): {"fit": not self.refusals(x), "says": self.on_tensorrt(x)} for x in VERSIONS}
        return own | {"operators": dict(self.operators), "verdicts": verdicts, "tensorrt": versions}


def lint(model: Path | ModelProto, *, batch: int = VIEWS_PER_RUN, source: str | None = None) -> LintReport:
    """Check a model without running it. If nothing is found against it, onnxruntime opens it in the end.

    Args:
        model: an ONNX file, or its content.
        batch: views per run that tensor sizes are computed for.
        source: what messages call the model; None for the path.

    Raises:
        ModelError: there is no such file, or it is not an ONNX model.
        DeviceError: onnxruntime is missing.
    """
    source = source or (str(model) if isinstance(model, Path) else "model")
    content = read_model(model, source=source) if isinstance(model, Path) else model
    graph = OnnxGraph(content, batch=batch)
    if not graph.readable:
        raise ModelError(f"{source}: expected an ONNX model, found names that are not UTF-8; export it again")
    checks = (*CHECKS, *SOUND_CHECKS) if graph.sound else CHECKS
    findings = [finding for check in checks for finding in check(graph)]
    # Opening a model computes its constants: one of many gigabytes would fill this machine's memory.
    if not any(x.severity == REFUSED and (CPU in x.targets or x.check == "sizes") for x in findings):
        findings += _open(model, source=source)
    return LintReport(
        source=source,
        size=content.ByteSize(),
        ir_version=content.ir_version,
        opset=graph.opset,
        precision=graph.precision,
        quantization=graph.quantization,
        made_for=_made_for(graph),
        batch=graph.batch,
        operators=tuple(Counter(map(kind_of, graph.nodes)).most_common()),
        findings=_merged(findings),
    )


def check_validity(graph: OnnxGraph) -> Iterator[Finding]:
    """ONNX's own checker."""
    if graph.problem is not None:
        expected = "a graph that ONNX's checker accepts"
        yield Finding(REFUSED, "validity", TARGETS, (), expected, clean(graph.problem), "export it again")
    if not graph.ordered:
        expected, found = "nodes after those that they depend on", "another order, which not every tool accepts"
        yield Finding(WARNING, "validity", TARGETS, (), expected, found, "sort them")


def check_versions(graph: OnnxGraph) -> Iterator[Finding]:
    """IR version and opset."""
    remedy = "export with IR 8 and opset 17"
    if graph.model.ir_version > NEWEST_IR:
        expected = f"at most {NEWEST_IR}, the newest that onnxruntime 1.17 reads (1.23: 11)"
        yield Finding(REFUSED, "IR version", TARGETS, (), expected, str(graph.model.ir_version), remedy)
    for target, oldest in OLDEST_OPSET.items():
        if not oldest <= graph.opset <= NEWEST_OPSET:
            expected = f"{oldest} to {NEWEST_OPSET}, the newest that onnxruntime 1.17 reads (1.23: 23)"
            yield Finding(REFUSED, "opset", (target,), (), expected, str(graph.opset), remedy)
    newest = max((x.version for x in graph.model.opset_import if x.domain == "ai.onnx.ml"), default=0)
    if newest > NEWEST_ML:
        expected, found = f"ai.onnx.ml up to {NEWEST_ML}, as onnxruntime 1.17 reads", f"ai.onnx.ml {newest}"
        yield Finding(REFUSED, "opset", TARGETS, (), expected, found, "drop the import if nothing uses it")


def check_external_data(graph: OnnxGraph) -> Iterator[Finding]:
    """Weights stored in other files."""
    if graph.external:
        expected, found = "all weights inside the file, as a bundle holds no other", "weights in other files"
        remedy = "save it again without external data"
        yield Finding(REFUSED, "external data", TARGETS, graph.external, expected, found, remedy)


def check_card(graph: OnnxGraph) -> Iterator[Finding]:
    """The model card, and whether inputs and outputs match it."""
    try:
        card = _card(graph)
    except ModelError as problem:
        bare = all(entry.key != METADATA_KEY for entry in graph.model.metadata_props)
        found = "none" if bare else clean(str(problem).removeprefix("card: "))
        remedy = "use a file that 'spade-edge export' wrote"
        yield Finding(REFUSED, "card", TARGETS, (), "the card of 'spade-edge export'", found, remedy)
        return
    remedy = "export it again; a converter must leave inputs and outputs as they are"
    inputs = {port.name: port for port in graph.inputs}
    outputs = {port.name: port for port in graph.model.graph.output}
    if inputs.keys() - {INPUT}:
        where = tuple(name for name in inputs if name != INPUT)
        yield Finding(REFUSED, "card", TARGETS, where, f"one input, {INPUT}", "others", remedy)
    for ports, name, shape in (
        (inputs, INPUT, (*card.view.size, 3)),
        *((outputs, name, shape) for name, shape in card.output_shapes().items()),
    ):
        expected = f"Nx{'x'.join(map(str, shape))} float32"
        if name not in ports:
            yield Finding(REFUSED, "card", TARGETS, (name,), expected, "no such input or output", remedy)
            continue
        declared, elem_type = shape_of(ports[name]), ports[name].type.tensor_type.elem_type
        found_shape = (*declared[:1], *graph.shapes.get(name, declared)[1:])
        fits = len(found_shape) == len(shape) + 1 and all(
            found in {None, wanted} for found, wanted in zip(found_shape[1:], shape, strict=True)
        )
        if not fits or elem_type != TensorProto.FLOAT:
            found = f"{'x'.join('N' if x is None else str(x) for x in found_shape)} {type_name(elem_type)}"
            yield Finding(REFUSED, "card", TARGETS, (name,), expected, found, remedy)
    if card.precision != graph.precision:
        expected, remedy = f"{card.precision}, as on the card", "measure how scores change before using it"
        yield Finding(WARNING, "card", TARGETS, (), expected, graph.precision, remedy)


def check_axes(graph: OnnxGraph) -> Iterator[Finding]:
    """Axes of variable size: only the batch may be one."""
    expected, remedy = "fixed sizes; only the batch may be free", "export it for one view size"
    for targets, ports in ((TARGETS, graph.inputs), ((TENSORRT,), graph.model.graph.output)):
        for port in ports:
            if None in shape_of(port)[1:]:
                yield Finding(REFUSED, "axes", targets, (port.name,), expected, f"free axes: {_free(port)}", remedy)
    unknown = tuple(name for name, shape in graph.shapes.items() if None in shape[1:] and name in graph.computed)
    if unknown and not any(None in shape_of(port)[1:] for port in graph.inputs):
        expected, found = "shapes that follow from the input's", "some that are known only at run time"
        yield Finding(WARNING, "axes", (TENSORRT,), unknown, expected, found, "make what they depend on constant")
    if graph.batch is not None:
        where, remedy = (graph.inputs[0].name,), "use it with trtexec only; build bundles from one with a free batch"
        expected, found = "a free batch, as a frame has one view or several", f"always {graph.batch}"
        severity = WARNING if graph.batch == 1 else REFUSED
        yield Finding(severity, "axes", (CPU,), where, expected, found, remedy)
        yield Finding(WARNING, "axes", (TENSORRT,), where, expected, found, remedy)


def check_half(graph: OnnxGraph) -> Iterator[Finding]:
    """float16 on a CPU."""
    if graph.precision == "fp16":
        found, remedy = "float16, which most CPUs compute as float32 between casts", "export fp32 for CPUs"
        yield Finding(WARNING, "precision", (CPU,), (), "float32 on a CPU", found, remedy)


CHECKS = (check_validity, check_versions, check_external_data, check_card, check_axes, check_domains, check_operators)
SOUND_CHECKS = (
    check_restrictions,
    check_types,
    check_sizes,
    check_quantization,
    check_half,
)  # only for models that ONNX's checker accepts


def _card(graph: OnnxGraph) -> ModelCard:
    metadata = {entry.key: entry.value for entry in graph.model.metadata_props}
    return ModelCard.from_metadata(metadata, source="card")


def _made_for(graph: OnnxGraph) -> tuple[str, ...]:
    """The target on the card; without a card, unsigned codes stand for the CPU and signed codes for TensorRT."""
    if graph.quantization is None:
        return TARGETS
    with suppress(ModelError):
        target = _card(graph).quantization.get("target")
        if target in TARGETS:
            return (target,)
    return (TENSORRT,) if graph.quantization == "signed" else (CPU,)


def _open(model: Path | ModelProto, *, source: str) -> list[Finding]:
    """Open it with the installed onnxruntime, as the runtime does."""
    try:
        if isinstance(model, Path):
            Session.open(model, source=source)
        else:
            Session(_session(model.SerializeToString()), source=source)
    except ModelError as problem:
        expected, found = "a model that onnxruntime opens", clean(str(problem).removeprefix(f"{source}: "))
        return [Finding(REFUSED, "runtime", TARGETS, (), expected, found, "export it again")]
    return []


def _session(content: bytes) -> Any:
    try:
        return ort.open_session(content, providers=(ort.CPU,), threads=None)
    except DeviceError:
        raise
    except Exception as problem:  # onnxruntime's exceptions share no other base
        raise ModelError(str(problem)) from None


def _merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Join equal findings at several places; those that refuse the file come first."""
    places: dict[tuple[Any, ...], dict[str, None]] = {}
    for x in findings:
        key = (x.severity, x.check, x.targets, x.expected, x.found, x.remedy, x.versions)
        places.setdefault(key, {}).update(dict.fromkeys(map(clean, x.where)))
    merged = [
        Finding(severity, check, targets, tuple(where), expected, found, remedy, versions)
        for (severity, check, targets, expected, found, remedy, versions), where in places.items()
    ]
    return tuple(sorted(merged, key=lambda x: x.severity != REFUSED))


def _free(port: ValueInfoProto) -> str:
    """The axes of variable size, by name or position."""
    sizes, shape = port.type.tensor_type.shape.dim, shape_of(port)
    return ", ".join(clean(sizes[i].dim_param) or str(i) for i in range(1, len(shape)) if shape[i] is None)
