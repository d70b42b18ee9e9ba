"""The same model with a fixed batch size: all shapes are static, so `trtexec` needs no optimisation profile."""

from __future__ import annotations

import hashlib
import logging
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from spade_edge.export.onnx_graph import OnnxGraph, fix_batch, read_model, shape_of
from spade_edge.export.output_file import check_output_file, replacing, write_model
from spade_edge.runtime.errors import ModelError, UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.pyramid import Pyramid
from spade_edge.runtime.network.session import Session

log = logging.getLogger(__name__)

# Relative to the largest value. With fixed shapes onnxruntime chooses other kernels: with ResNet-18, float32 was the
# same bit for bit and float16 differed by 3.7e-4; one step of int8 is 8e-3. A wrong graph differs by far more.
TOLERANCE = {"fp32": 1e-5, "fp16": 1e-2, "int8": 1e-2}
LARGEST_BATCH = 1024
FLAGS = {"fp32": ("--fp16",), "fp16": ("--stronglyTyped",), "int8": ("--int8",)}  # of trtexec before TensorRT 11


@dataclass(frozen=True)
class StaticReport:
    """A model with a fixed batch that has been written.

    Attributes:
        path: the file.
        batch: views per run.
        sha256: of the file, hexadecimal.
        size: of the file, in bytes.
        difference: largest difference to the original by output, as a fraction of its largest value.
    """

    path: Path
    batch: int
    sha256: str
    size: int
    difference: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"path": str(self.path)}


def write_static(model: Path, output: Path, *, batch: int) -> StaticReport:
    """Write a copy of a model file with a fixed batch.

    Args:
        model: a file that `spade-edge export` wrote.
        output: the file to write; an existing one is replaced once the new model is verified.
        batch: views per run, 1 to 1024.

    Raises:
        UsageError: the folder of `output` is missing, `output` is `model`, or the batch is out of range.
        ModelError: the model has a fixed batch already, or its results change with one. No file is left.
        DeviceError: onnxruntime is missing, or the disk is full.
    """
    output = _checked(model, output, batch=batch)
    graph = OnnxGraph(read_model(model, source=str(model)), batch=batch)
    fixed = _fixed(graph, batch=batch, source=str(model))
    with replacing(output, option="--static") as part:
        content = write_model(part, fixed)
        difference = _compared(model, part, batch=batch, tolerance=TOLERANCE[graph.precision], source=output.name)
    log.info("wrote %s for a batch of %d", output, batch)
    return StaticReport(output, batch, hashlib.sha256(content).hexdigest(), len(content), difference)


def trtexec_lines(model: Path, *, precision: str) -> dict[str, str]:
    """The command that builds an engine from a file, by TensorRT version.

    Before TensorRT 11, flags choose the precision: --fp16 allows float16 for a float32 graph, --stronglyTyped keeps the
    types of a float16 graph, and a graph with Q/DQ pairs is rejected without --int8. TensorRT 11 has no such flags and
    follows the types of the graph.
    """
    line = ["trtexec", f"--onnx={model}", f"--saveEngine={model.with_suffix('.engine')}"]
    return {"TensorRT 10": shlex.join([*line, *FLAGS[precision]]), "TensorRT 11": shlex.join(line)}


def _checked(model: Path, output: Path, *, batch: int) -> Path:
    if not 1 <= batch <= LARGEST_BATCH:
        raise UsageError(f"expected a batch of 1 to {LARGEST_BATCH} views, found {batch}")
    if output.exists() and model.exists() and output.samefile(model):
        raise UsageError(f"--static {output}: expected another file than the model, found the same; bundles need both")
    check_output_file(output, option="--static")
    return output


def _fixed(graph: OnnxGraph, *, batch: int, source: str) -> ModelProto:
    """Set the batch of inputs and outputs, and check that every other shape follows from it."""
    model = graph.model
    if graph.batch is not None:
        raise ModelError(f"{source}: expected a free batch, found always {graph.batch}; use the original file")
    unknown = sorted(x for x in graph.computed if None in graph.shapes.get(x, (None,)))
    if graph.problem is not None or unknown:
        found = graph.problem or f"none for {', '.join(unknown[:3])}"
        raise ModelError(
            f"{source}: expected shapes that follow from a batch of {batch}, found {found}; export it again"
        )
    for port in graph.inputs:
        fix_batch(port, batch)
    for port in model.graph.output:
        fix_batch(port, batch)
        found_shape = graph.shapes.get(port.name)
        if shape_of(port) != found_shape:
            raise ModelError(
                f"{source}: expected {port.name} of shape {shape_of(port)} at a batch of {batch}, found {found_shape}; "
                "export it again"
            )
    del model.graph.value_info[:]  # shapes stated for a free batch
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise ModelError(f"{source}: expected a valid model with a batch of {batch}, found: {problem}") from None
    return model


def _compared(model: Path, part: Path, *, batch: int, tolerance: float, source: str) -> dict[str, float]:
    """Run both models on the same views; returns the largest difference by output."""
    original = Session.open(model)
    views = _views(original.card.view, batch)
    expected, found = original(views), Session.open(part, source=source)(views)
    difference = {}
    for i, name in enumerate(original.card.outputs):
        pairs = [(_outputs(a)[i], _outputs(b)[i]) for a, b in zip(found, expected, strict=True)]
        largest = max(float(np.abs(b).max()) for _, b in pairs) or 1.0
        difference[name] = max(float(np.abs(a - b).max()) for a, b in pairs) / largest
        if not difference[name] <= tolerance:  # NaN too
            raise ModelError(
                f"{source}: expected {name} within {tolerance:g} of the model with a free batch, found "
                f"{difference[name]:.2g} of its largest value; nothing was written"
            )
    return difference


def _outputs(pyramid: Pyramid) -> tuple[NDArray[np.float32], ...]:
    return (*pyramid.levels, pyramid.descriptor)


def _views(view: View, count: int) -> NDArray[np.float32]:
    """Noise, (count, H, W, 3) float32, 0 to 255."""
    return np.random.default_rng(0).integers(0, 256, (count, *view.size, 3)).astype(np.float32)
