"""The pyramid as an ONNX graph."""

from __future__ import annotations

import io
import warnings
from typing import Any

import onnx
import torch

import spade_edge
from spade_edge.export.pyramid import TorchPyramid
from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.card import INPUT

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17; onnxruntime 1.23, the newest for JetPack 6, reads up to 11
BATCH = "batch"


def build_graph(pyramid: TorchPyramid, *, view: View) -> onnx.ModelProto:
    """Trace the pyramid at a view's size.

    Args:
        pyramid: in evaluation mode.
        view: sets height and width; the batch axis stays free and is named "batch".

    Returns:
        A checked model without external data: Conv (batch norm folded in), Relu or Clip, Add, MaxPool, Transpose,
        Gather, Sub, Div, GlobalAveragePool and Flatten.

    Raises:
        ModelError: the exporter wrote something else.
    """
    model = _traced(pyramid, view)
    _name_weights(model.graph)
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
    names = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    nodes = [node for node in graph.node if node.op_type != "Identity"]
    weights: dict[str, str] = {}
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        if node.op_type == "Conv":
            path = node.name.strip("/").removesuffix("/Conv")
            for name, part in zip(node.input[1:], ("weight", "bias"), strict=False):
                weights.setdefault(name, f"{path}/{part}")  # named after the first of several nodes
    for tensor in graph.initializer:
        tensor.name = weights.get(tensor.name, tensor.name)
    for node in nodes:
        node.input[:] = [weights.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(nodes)
