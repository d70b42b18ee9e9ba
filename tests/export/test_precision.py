"""fp16 and int8: what the graph is made of, what it computes, and which convolutions stay in float."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from spade_edge.export import ExportReport, Precision, build_pyramid, export_pyramid
from spade_edge.export.activation_ranges import activation_ranges
from spade_edge.export.fp16 import to_fp16
from spade_edge.export.int8 import TARGETS, to_int8
from spade_edge.export.lint import lint
from spade_edge.export.onnx_conversion import build_graph
from spade_edge.export.sensitivity import (
    MOST_PRODUCTS,
    MOST_WEIGHTS,
    Sensitivity,
    kept_in_float,
    measure_sensitivity,
    scale_of,
)
from spade_edge.runtime.errors import ModelError, UsageError
from spade_edge.runtime.geometry.view import View

Views = NDArray[np.float32]
Frames = Callable[..., Views]


def smooth(count: int, *, seed: int, size: tuple[int, int] = (64, 64)) -> Views:
    """Views with a little structure, (N, H, W, 3) float32, 0 to 255."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [
        127 + 90 * np.sin(x / rng.uniform(3, 9) + y / rng.uniform(3, 9))[..., None] * rng.uniform(0.5, 1, 3)
        for _ in range(count)
    ]
    return np.clip(np.stack(waves) + rng.normal(0, 5, (count, *size, 3)), 0, 255).astype(np.float32)


def graph_of(model: onnx.ModelProto) -> tuple[dict[str, NDArray[Any]], list[onnx.NodeProto]]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}, list(model.graph.node)


def outputs_of(model: onnx.ModelProto, views: Views) -> list[Views]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Views] = session.run(None, {"frames": views})
    return found


@pytest.fixture(scope="module")
def plain(resnet18: nn.Module, small: View) -> onnx.ModelProto:
    return build_graph(build_pyramid("resnet18", state=resnet18.state_dict()), view=small)


@pytest.fixture(scope="module", params=["cpu", "tensorrt"])
def quantized(
    request: pytest.FixtureRequest, resnet18: nn.Module, small: View, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    pyramid = build_pyramid("resnet18", state=resnet18.state_dict())
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    precision = Precision("int8", target=request.param, views=smooth(6, seed=1))
    return export_pyramid(pyramid, path, view=small, weights_note={}, precision=precision)


def test_half_precision_inside_and_float32_at_both_ends(plain: onnx.ModelProto) -> None:
    before = plain.SerializeToString()
    half = to_fp16(plain)
    assert plain.SerializeToString() == before
    weights, nodes = graph_of(half)
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert all(weights[name].dtype == np.float16 for node in convolutions for name in node.input[1:])
    assert weights["mean"].dtype == weights["std"].dtype == np.float32
    assert half.ByteSize() < 0.51 * plain.ByteSize()
    views = smooth(3, seed=2)
    for want, have in zip(outputs_of(plain, views), outputs_of(half, views), strict=True):
        assert have.dtype == np.float32
        assert 0 < np.abs(have - want).max() < 5e-3 * np.abs(want).max()
    # The mean over a level is taken in float32: half precision would round it to 11 bits.
    image = outputs_of(half, views)[-1]
    assert (image.astype(np.float16) != image)[image > 0].mean() > 0.9


def test_half_precision_of_a_network_with_bounds() -> None:
    torch.manual_seed(0)
    plain = build_graph(build_pyramid("efficientnet_lite0"), view=View((64, 64), (64, 64)))
    assert any(node.op_type == "Clip" for node in plain.graph.node)
    views = smooth(2, seed=3)
    for want, have in zip(outputs_of(plain, views), outputs_of(to_fp16(plain), views), strict=True):
        assert np.abs(have - want).max() < 2e-2 * np.abs(want).max()


@pytest.mark.parametrize("sign", [1, -1])
def test_weights_that_half_precision_cannot_hold(plain: onnx.ModelProto, sign: int) -> None:
    large = onnx.ModelProto()
    large.CopyFrom(plain)
    tensor = next(t for t in large.graph.initializer if t.name.endswith("conv1/weight"))
    weights = sign * np.abs(numpy_helper.to_array(tensor)) * np.float32(1e6)
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    with pytest.raises(ModelError, match=r"65504 .* found \S+ in \S+conv1/weigh"):
        to_fp16(large)


def test_an_exported_fp16_file(resnet18: nn.Module, small: View, tmp_path: Path) -> None:
    pyramid = build_pyramid("resnet18", state=resnet18.state_dict())
    report = export_pyramid(pyramid, tmp_path / "m.onnx", view=small, weights_note={}, precision=Precision("fp16"))
    assert (report.card.precision, report.card.quantization) == ("fp16", {})
    assert 1e-5 < report.card.parity["level3"]["relative"] < 5e-3
    model, found = onnx.load(str(report.path)), lint(report.path)
    assert (model.ir_version, found.fit("tensorrt")) == (8, True)
    # TensorRT 11 computes in the types that are there: every convolution must be typed float16.
    assert found.on_tensorrt(11) == "yes, computes float16 between the model's casts, as the model is typed"
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    weights = [kinds[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
    assert weights and set(weights) == {onnx.TensorProto.FLOAT16}
    assert [port.type.tensor_type.elem_type for port in (*model.graph.input, *model.graph.output)] == [1] * 5


def test_what_each_tensorrt_makes_of_an_int8_file(quantized: ExportReport) -> None:
    """TensorRT 11 has no implicit quantization: int8 is where Q/DQ pairs are, and these must be those it takes."""
    report = lint(quantized.path)
    for version in (8, 10, 11):
        said = report.on_tensorrt(version)
        if quantized.card.quantization["target"] == "cpu":
            assert said == "no, refused: quantisation"
        else:
            assert said.startswith("yes, computes int8 at the model's Q/DQ pairs and float32 elsewhere")
            assert ("flag" in said, "typed" in said) == (version < 11, version == 11)


def test_the_quantized_graph(quantized: ExportReport, plain: onnx.ModelProto) -> None:
    card = quantized.card
    target = card.quantization["target"]
    model = onnx.load(str(quantized.path))
    constants, nodes = graph_of(model)
    originals, _ = graph_of(plain)
    producers = {name: node for node in nodes for name in node.output}
    unsigned = {"QuantizeLinear": 0, "DequantizeLinear": 0}
    floats = []
    for node in nodes:
        if node.op_type == "Conv":
            path = node.name.strip("/").removesuffix("/Conv")
            original = originals[f"{path}/weight"]
            if node.input[1] in constants:  # left in float
                np.testing.assert_array_equal(constants[node.input[1]], original)
                floats.append(node.name)
                continue
            codes, scale, zero = (constants[name] for name in producers[node.input[1]].input)
            most = 63 if target == "cpu" else 127
            assert codes.dtype == zero.dtype == np.int8
            assert np.abs(codes.astype(int)).max() <= most + (target == "cpu")
            assert not zero.any()
            assert scale.shape == (len(original),)  # one for each output channel
            steps = scale.reshape(-1, 1, 1, 1)
            np.testing.assert_allclose(codes * steps, original, atol=0.51 * float(scale.max()))
            np.testing.assert_allclose(scale, np.abs(original).reshape(len(original), -1).max(axis=1) / most, rtol=0.02)
        elif node.op_type in unsigned:
            unsigned[node.op_type] += constants[node.input[2]].dtype == np.uint8
            if target == "tensorrt":
                assert constants[node.input[2]].dtype == np.int8
                assert not constants[node.input[2]].any()
    assert floats == card.quantization["float_layers"]
    assert set(card.quantization["harm"]) == {node.name for node in nodes if node.op_type == "Conv"}
    assert (min(unsigned.values()) > 10) == (target == "cpu")
    report = lint(quantized.path)
    assert report.made_for == (target,)
    assert report.fit(target)


def test_the_quantized_numbers(
    quantized: ExportReport, resnet18: nn.Module, oracle: Callable[[nn.Module, Views], Mapping[str, Views]]
) -> None:
    views = smooth(4, seed=9)  # not those that it was calibrated on
    expected = oracle(resnet18, views)
    *levels, _ = outputs_of(onnx.load(str(quantized.path)), views)
    for number, level in enumerate(levels, start=1):
        want = expected[f"level{number}"].transpose(0, 2, 3, 1)
        error = np.sqrt(np.square(level - want).mean() / np.square(want).mean())
        assert 1e-4 < error < 0.1
        assert quantized.card.parity[f"level{number}"]["rms"] < 0.1


def test_the_same_file_every_time(plain: onnx.ModelProto) -> None:
    views = smooth(2, seed=4)
    first, second = (to_int8(plain, views, target="cpu")[0] for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_quantization_says_nothing_and_leaves_logging_as_it_was(
    plain: onnx.ModelProto, capfd: pytest.CaptureFixture[str]
) -> None:
    to_int8(plain, smooth(1, seed=4), target="tensorrt")
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


def test_ranges_leave_stray_values_out(plain: onnx.ModelProto) -> None:
    views = smooth(3, seed=5)
    name = next(node.input[0] for node in plain.graph.node if "layer2.0/conv1" in node.name)
    bare = onnx.ModelProto()
    bare.CopyFrom(plain)
    bare.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    values = np.concatenate([outputs_of(bare, view[np.newaxis])[-1].reshape(-1) for view in views])
    low, high = activation_ranges(plain, views, operators=("Conv", "Relu"))[name]
    assert low == 0
    within = np.quantile(values, 0.99999)
    assert within * 0.98 <= high <= values.max()


def test_sensitivity_against_torch(resnet18: nn.Module, small: View, plain: onnx.ModelProto) -> None:
    views = smooth(2, seed=6)
    pyramid = build_pyramid("resnet18", state=resnet18.state_dict())
    ranges = activation_ranges(plain, views, operators=("Conv",))
    for signed, bits in ((False, 7), (True, 8)):
        found = {one.name: one for one in measure_sensitivity(plain, ranges, views, signed=signed, bits=bits)}
        name = "/stages.1/layer2/layer2.0/conv2/Conv"
        node = next(node for node in plain.graph.node if node.name == name)
        scale, zero = scale_of(ranges[node.input[0]], signed=signed)
        modules = dict(pyramid.named_modules())
        convolution = next(m for path, m in modules.items() if path.endswith("layer2.0.conv2"))
        norm = next(m for path, m in modules.items() if path.endswith("layer2.0.bn2"))
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        lowest, highest = (-128, 127) if signed else (0, 255)
        weights = convolution.weight.data.clone()
        # Folding batch norm scales whole output channels, which a scale for each takes along.
        most = 2 ** (bits - 1) - 1
        step = weights.abs().amax(dim=(1, 2, 3)) / most
        rounded = torch.fake_quantize_per_channel_affine(weights, step, torch.zeros(len(step)).int(), 0, -most, most)

        def see(_: nn.Module, given: tuple[torch.Tensor], *, s: float = float(scale), z: int = int(zero)) -> Any:
            return (torch.fake_quantize_per_tensor_affine(given[0], s, z, lowest, highest),)  # noqa: B023

        with torch.inference_mode():
            want = pyramid(torch.from_numpy(views))[:-1]
            hook = convolution.register_forward_pre_hook(see)
            convolution.weight.data = rounded
            have = pyramid(torch.from_numpy(views))[:-1]
            convolution.weight.data = weights
            hook.remove()
        errors = [
            float(((b - a) ** 2).double().mean().sqrt() / (a**2).double().mean().sqrt())
            for a, b in zip(want, have, strict=True)
        ]
        assert errors[0] == 0  # level 1 lies before it
        assert found[name].error == pytest.approx(max(errors), rel=0.02)
        assert found[name].weights == weights.numel()
        assert found[name].products == weights.numel() * 8 * 8


@pytest.mark.parametrize(
    ("limits", "signed", "scale", "zero"),
    [
        ((0.0, 51.0), False, 0.2, 0),
        ((-1.0, 4.1), False, 0.02, 50),
        ((-2.54, 1.0), True, 0.02, 0),
        ((1.0, 2.55), False, 0.01, 0),  # widened to hold 0
        ((0.0, 0.0), True, 1e-12 / 127, 0),
    ],
)
def test_steps_by_hand(limits: tuple[float, float], signed: bool, scale: float, zero: int) -> None:
    step, at = scale_of(limits, signed=signed)
    assert (float(step), int(at)) == (pytest.approx(scale), zero)
    assert at.dtype == (np.int8 if signed else np.uint8)


def sensitivity(name: str, error: float, *, weights: int = 1, products: int = 1) -> Sensitivity:
    return Sensitivity(name, error, weights, products)


def test_the_worst_stay_in_float_until_it_is_enough_or_too_much() -> None:
    many = [sensitivity(f"good{i}", 0.0001, weights=1000, products=1000) for i in range(10)]
    assert kept_in_float(many) == ()
    assert kept_in_float([sensitivity("a", 0.01), *many, sensitivity("b", 0.05), sensitivity("c", 0.03)]) == (
        "b",
        "c",
    )
    assert kept_in_float([sensitivity("a", 0.5, weights=int(MOST_WEIGHTS * 12000)), *many]) == ()
    assert kept_in_float([sensitivity("a", 0.5, products=int(MOST_PRODUCTS * 14000)), *many]) == ()
    # What is too large is passed over, not the end.
    assert kept_in_float([sensitivity("a", 0.5, weights=3000), sensitivity("b", 0.4), *many]) == ("b",)


def test_choices_that_do_not_fit(small: View, tmp_path: Path) -> None:
    views = smooth(1, seed=0)
    with pytest.raises(UsageError, match="int4"):
        Precision("int4")
    with pytest.raises(UsageError, match="tpu"):
        Precision("int8", target="tpu", views=views)
    for none in (None, views[:0]):
        with pytest.raises(UsageError, match="found none"):
            Precision("int8", views=none)
    pyramid = build_pyramid("resnet18", levels=(1,))
    with pytest.raises(UsageError, match=r"64x64x3 .* found 32x64x3"):
        export_pyramid(
            pyramid, tmp_path / "m.onnx", view=small, weights_note={}, precision=Precision("int8", views=views[:, :32])
        )
    assert set(TARGETS) == {"cpu", "tensorrt"}


def test_an_int8_model_that_is_not_the_network(small: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spade_edge.export.int8.activation_ranges", narrow)
    torch.manual_seed(0)
    pyramid = build_pyramid("resnet18", levels=(1,))
    with pytest.raises(ModelError, match=r"level1 within 0\.15 of torch, .* nothing was written"):
        precision = Precision("int8", views=smooth(2, seed=0))
        export_pyramid(pyramid, tmp_path / "m.onnx", view=small, weights_note={}, precision=precision)
    assert not list(tmp_path.iterdir())


def narrow(*given: Any, **options: Any) -> dict[str, tuple[float, float]]:
    return {name: (low / 20, high / 20) for name, (low, high) in activation_ranges(*given, **options).items()}
