"""A pyramid of three convolutions with random weights, written with onnx alone: for tests that are not about export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.card import DESCRIPTOR, INPUT, Level, ModelCard

LEVELS = (Level(1, 4, 64), Level(2, 8, 128), Level(3, 16, 256))  # ResNet-18's
IR_VERSION, OPSET = 8, 17


def write_tiny_model(
    path: Path, *, size: tuple[int, int], resize: tuple[int, int] | None = None, seed: int = 0
) -> Path:
    """Write the network for views of `size` (height, width), multiples of 16, with its model card; gives `path`.

    With `resize`, frames are brought to that size and the view is their middle.
    """
    card = ModelCard(
        backbone="three_convolutions",
        weights={"source": "random"},
        levels=LEVELS,
        image_level=3,
        image_channels=LEVELS[-1].channels,
        view=View(resize=resize or size, size=size),
        precision="fp32",
        parity={},
    )
    model = helper.make_model(
        _graph(card, np.random.default_rng(seed)),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, card.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path


def _graph(card: ModelCard, rng: np.random.Generator) -> onnx.GraphProto:
    """Colours to -1 to 1, then a convolution with a ReLU for each level, each of which halves or quarters the grid."""
    constants: dict[str, NDArray[Any]] = {
        "rgb": np.array([2, 1, 0], np.int64),
        "middle": np.array(127.5, np.float32),
        "factor": np.array(1 / 127.5, np.float32),
    }
    nodes = [
        helper.make_node("Transpose", [INPUT], ["bgr"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["bgr", "rgb"], ["colours"], axis=1),
        helper.make_node("Sub", ["colours", "middle"], ["centred"]),
        helper.make_node("Mul", ["centred", "factor"], ["scaled"]),
        # Half the size: random filters would answer to a camera's noise more than to what is in the picture.
        helper.make_node("AveragePool", ["scaled"], ["features0"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    channels, stride = 3, 2
    for number, level in enumerate(card.levels, start=1):
        step = level.stride // stride
        # He initialisation: features of all levels have one scale.
        kernel = (level.channels, channels, 2 * step - 1, 2 * step - 1)
        constants[f"weights{number}"] = rng.normal(0, np.sqrt(2 / np.prod(kernel[1:])), kernel).astype(np.float32)
        constants[f"bias{number}"] = rng.normal(0, 0.1, level.channels).astype(np.float32)
        names = [f"features{number - 1}", f"weights{number}", f"bias{number}"]
        pads = [step - 1, step - 1, step - 1, step - 1]
        nodes += [
            helper.make_node("Conv", names, [f"sums{number}"], strides=[step, step], pads=pads),
            helper.make_node("Relu", [f"sums{number}"], [f"features{number}"]),
            helper.make_node("Transpose", [f"features{number}"], [level.output], perm=[0, 2, 3, 1]),
        ]
        channels, stride = level.channels, level.stride
    nodes += [
        helper.make_node("GlobalAveragePool", [f"features{len(card.levels)}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], [DESCRIPTOR]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        for name, shape in card.output_shapes().items()
    ]
    frames = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *card.view.size, 3])
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    return helper.make_graph(nodes, "three_convolutions", [frames], outputs, initializers)
