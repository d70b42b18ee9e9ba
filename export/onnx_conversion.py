"""The pyramid as an ONNX graph."""

from __future__ import annotations

import io
import warnings
from typing import Any

import onnx
import torch

import spade_edge
from spade_edge.export.reason import reason
from spade_edge.export.shape_folding import fold_shapes
from spade_edge.export.torch_pyramid import TorchPyramid
from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.card import DESCRIPTOR, INPUT

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17; onnxruntime 1.23, the newest for JetPack 6, reads up to 11
BATCH = "batch"


def build_graph(pyramid: TorchPyramid, *, view: View) -> onnx.ModelProto:
    """Trace the pyramid at a view's size.

    Args:
        pyramid: in evaluation mode.
        view: sets height and width; the batch axis stays free and is named "batch".

    Returns:
        A checked model without external data. Our own backbones are Conv (batch norm folded in), Relu or Clip, Add,
        MaxPool, Transpose, Gather, Sub, Div, GlobalAveragePool and Flatten; timm's have what they need.

    Raises:
        ModelError: torch cannot export the network, or the exporter wrote something else.
    """
    try:
        model = _traced(pyramid, view)
    except Exception as problem:  # torch's exporter raises almost anything
        raise ModelError(
            f"{pyramid.backbone}: expected a network that torch can export, found {reason(problem)}; choose another"
        ) from None
    _name_weights(model.graph)
    fold_shapes(model, view=view)
    _state_shapes(model.graph, pyramid, view)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "spade-edge", spade_edge.__version__
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelError("expected the exporter to write the weights into the file, found external data")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise ModelError(f"expected the exporter to write a valid model, found: {problem}") from None
    return model


def _traced(pyramid: TorchPyramid, view: View) -> onnx.ModelProto:
    # dynamo=False: at opset 17 the TorchScript exporter folds every batch norm and leaves only the nodes named above,
    # with torch 2.4.1 and 2.14.1 alike. dynamo=True (torch 2.14.1) writes opset 18 in any case because its conversion
    # to 17 fails, turns the global descriptor into Shape, Range and Gather, and stores source paths in the file.
    file: Any = io.BytesIO()  # annotated as a path, but the TorchScript exporter takes files too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter not being the default any more
        torch.onnx.export(
            pyramid,
            (torch.zeros(1, *view.size, 3),),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(pyramid.outputs),
            dynamic_axes={name: {0: BATCH} for name in (INPUT, *pyramid.outputs)},
        )
    return onnx.load_model_from_string(file.getvalue())


def _name_weights(graph: onnx.GraphProto) -> None:
    """Name folded weights after their node; the exporter only numbers them, as in `onnx::Conv_410`."""
    # Equal tensors are stored once; all nodes but the first read them through an Identity.
    stored = {tensor.name for tensor in graph.initializer}
    names = {node.output[0]: node.input[0] for node in graph.node if _repeats(node, stored)}
    nodes = [node for node in graph.node if not _repeats(node, stored)]
    weights: dict[str, str] = {}
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        if node.op_type in ("Conv", "MatMul"):
            path = node.name.strip("/").removesuffix(f"/{node.op_type}")
            for name, part in zip(node.input[1:], ("weight", "bias"), strict=False):
                if name in stored:
                    weights.setdefault(name, f"{path}/{part}")  # named after the first of several nodes
    for tensor in graph.initializer:
        tensor.name = weights.get(tensor.name, tensor.name)
    for node in nodes:
        node.input[:] = [weights.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(nodes)


def _repeats(node: onnx.NodeProto, stored: set[str]) -> bool:
    return node.op_type == "Identity" and node.input[0] in stored


def _state_shapes(graph: onnx.GraphProto, pyramid: TorchPyramid, view: View) -> None:
    """State the sizes of the outputs, which torch leaves open where it computed them."""
    shapes = {x.output: (*(side // x.stride for side in view.size), x.channels) for x in pyramid.levels}
    shapes[DESCRIPTOR] = (pyramid.image_channels,)
    for output in graph.output:
        for axis, size in zip(output.type.tensor_type.shape.dim[1:], shapes[output.name], strict=True):
            axis.dim_value = size
