"""What stands in the ONNX file, read with onnx alone."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest
import torch
from onnx import TensorProto

from spade_edge.export import BACKBONES, ExportReport, build_pyramid
from spade_edge.export.onnx_conversion import build_graph
from spade_edge.runtime.geometry.view import View

PLAIN = {
    *("Conv", "Relu", "Clip", "Constant", "Add", "MaxPool", "GlobalAveragePool", "Flatten"),
    *("Transpose", "Gather", "Sub", "Div"),
}


@pytest.fixture(scope="module")
def model(exported: ExportReport) -> onnx.ModelProto:
    return onnx.load(str(exported.path), load_external_data=False)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_nothing_but_plain_nodes(name: str, small: View) -> None:
    torch.manual_seed(0)
    graph = build_graph(build_pyramid(name), view=small).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert set(kinds) <= PLAIN
    assert kinds["Transpose"] == 4  # one for the frame, one for each level
    assert kinds["Conv"] == {"wide_resnet50_2": 43, "resnet50": 43, "resnet18": 15, "efficientnet_lite0": 33}[name]
    # Batch norm is folded: each convolution has a bias, so no scale and shift follow it.
    assert all(len(node.input) == 3 for node in graph.node if node.op_type == "Conv")
    assert kinds["Sub"] == kinds["Div"] == 1


def test_versions_that_jetpack_6_reads(model: onnx.ModelProto) -> None:
    assert model.ir_version == 8
    assert [(x.domain, x.version) for x in model.opset_import] == [("", 17)]


def test_input_and_outputs_have_a_free_batch_axis_and_nothing_else_free(model: onnx.ModelProto) -> None:
    ports = {}
    for port in (*model.graph.input, *model.graph.output):
        assert port.type.tensor_type.elem_type == TensorProto.FLOAT
        ports[port.name] = [x.dim_param or x.dim_value for x in port.type.tensor_type.shape.dim]
    assert ports == {
        "frames": ["batch", 64, 64, 3],
        "level1": ["batch", 16, 16, 64],
        "level2": ["batch", 8, 8, 128],
        "level3": ["batch", 4, 4, 256],
        "image": ["batch", 512],
    }
    assert [port.name for port in model.graph.output] == ["level1", "level2", "level3", "image"]


def test_weights_are_inside_and_named_after_their_layer(model: onnx.ModelProto) -> None:
    names = [tensor.name for tensor in model.graph.initializer]
    assert len(set(names)) == len(names)
    assert "stages.0/conv1/weight" in names
    assert "stages.3/layer4/layer4.1/conv2/bias" in names
    assert not any("::" in name for name in names)
    for tensor in model.graph.initializer:
        assert tensor.data_location == TensorProto.DEFAULT
        assert not tensor.external_data
        assert tensor.data_type == (TensorProto.INT64 if tensor.name == "rgb" else TensorProto.FLOAT)


def test_layers_after_the_last_level_used_are_left_out(small: View) -> None:
    torch.manual_seed(0)
    graph = build_graph(build_pyramid("resnet18", levels=(1, 2)), view=small).graph
    names = [tensor.name for tensor in graph.initializer] + [node.name for node in graph.node]
    assert any("layer2" in name for name in names)
    assert not any(part in name for name in names for part in ("layer3", "layer4", "fc"))
    # stem 1, layer1 4, layer2 5 convolutions; equal biases of fresh batch norms are stored once.
    assert sum(len(tensor.dims) == 4 for tensor in graph.initializer) == 10


def test_no_trace_of_the_machine_that_exported(model: onnx.ModelProto) -> None:
    assert (model.producer_name, model.doc_string, model.graph.doc_string) == ("spade-edge", "", "")
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert [entry.key for entry in model.metadata_props] == ["spade_edge"]
