"""What runs the network: options exactly as onnxruntime takes them, names, order of preference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cards import card_of

from spade_edge.runtime import DeviceError, UsageError
from spade_edge.runtime.network.provider import BatchRange, Provider, Providers, ranked, with_fallbacks

CARD = card_of((64, 96), (4, 5), (8, 7), (16, 9))
FOUR = BatchRange(usual=1, most=4)


def test_options_of_cuda() -> None:
    assert Provider("cuda").cuda_options(onnxruntime="1.23.2") == {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
    }
    provider = Provider(
        "cuda",
        device=1,
        memory=500_000_000,
        tf32=True,
        cuda_graph=True,
        convolutions="exhaustive",
        arena="power-of-two",
    )
    assert provider.cuda_options(onnxruntime="1.32.0") == {
        "device_id": "1",
        "arena_extend_strategy": "kNextPowerOfTwo",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "gpu_mem_limit": "500000000",
        "use_tf32": "1",
        "enable_cuda_graph": "1",
    }


@pytest.mark.parametrize(
    ("version", "known"), [("1.17.3", False), ("1.18", True), ("1.20.0rc1", True), ("1.100.0", True), ("2.0.0", True)]
)
def test_an_option_is_left_out_where_onnxruntime_does_not_know_it(version: str, known: bool) -> None:
    assert ("use_tf32" in Provider("cuda").cuda_options(onnxruntime=version)) is known


def test_cuda_beside_tensorrt_captures_no_graph_of_its_own() -> None:
    options = Provider("tensorrt", cuda_graph=True).cuda_options(onnxruntime="1.23.2")
    assert "enable_cuda_graph" not in options


def test_options_of_tensorrt() -> None:
    folder = Path("/cache/engines/x")
    assert Provider("tensorrt", workspace=1000).tensorrt_options(
        CARD, folder=folder, views=FOUR, tensorrt="10.3.0"
    ) == {
        "device_id": "0",
        "trt_max_workspace_size": "1000",
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": "/cache/engines/x",
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": "/cache/engines/x",
        "trt_profile_min_shapes": "frames:1x64x96x3",
        "trt_profile_opt_shapes": "frames:1x64x96x3",
        "trt_profile_max_shapes": "frames:4x64x96x3",
    }
    provider = Provider("tensorrt", device=2, cuda_graph=True)
    options = provider.tensorrt_options(
        replace(CARD, precision="fp16"), folder=folder, views=BatchRange.of(provider, 7, most=4), tensorrt="10.3.0"
    )
    assert options["device_id"] == "2" and options["trt_cuda_graph_enable"] == "True"
    assert {options[f"trt_profile_{which}_shapes"] for which in ("min", "opt", "max")} == {"frames:1x64x96x3"}
    assert options["trt_fp16_enable"] == "True" and "trt_int8_enable" not in options


@pytest.mark.parametrize(
    ("precision", "tensorrt", "fp16", "int8"),
    [
        ("fp32", "10.3.0", False, False),
        ("fp16", "10.3.0", True, False),
        ("int8", "10.3.0", False, True),
        ("int8", "8.6.1", False, True),
        ("fp16", "11.0.0", False, False),
        ("int8", "11.4.0", False, False),
    ],
)
def test_the_builder_is_told_the_precision_of_the_model_up_to_tensorrt_10(
    precision: str, tensorrt: str, fp16: bool, int8: bool
) -> None:
    assert Provider("tensorrt").flags(precision, tensorrt=tensorrt) == (fp16, int8)


def test_the_precision_can_be_overruled() -> None:
    assert Provider("tensorrt", fp16=True).flags("fp32", tensorrt="10.3.0") == (True, False)
    assert Provider("tensorrt", fp16=True).flags("int8", tensorrt="10.3.0") == (True, True)
    assert Provider("tensorrt", int8=False).flags("int8", tensorrt="10.3.0") == (False, False)


@pytest.mark.parametrize(
    ("choice", "precision"),
    [
        ({"fp16": True}, "fp32"),
        ({"fp16": True}, "int8"),
        ({"fp16": False}, "fp16"),
        ({"int8": True}, "fp32"),
        ({"int8": True}, "fp16"),
        ({"int8": False}, "int8"),
    ],
)
def test_what_tensorrt_11_cannot_do_is_refused_and_not_ignored(choice: dict[str, bool], precision: str) -> None:
    provider = Provider("tensorrt", **choice)  # type: ignore[arg-type]
    provider.flags(precision, tensorrt="10.16.2")
    with pytest.raises(UsageError, match=rf"TensorRT 11\.4\.1.*{precision}.*--precision"):
        provider.flags(precision, tensorrt="11.4.1")
    with pytest.raises(UsageError):
        provider.tensorrt_options(
            replace(CARD, precision=precision), folder=Path("/cache"), views=FOUR, tensorrt="12.0.0"
        )


@pytest.mark.parametrize(
    ("choice", "precision"),
    [({"fp16": True}, "fp16"), ({"int8": True}, "int8"), ({"fp16": False, "int8": False}, "fp32")],
)
def test_what_the_model_says_anyway_may_be_said_to_tensorrt_11(choice: dict[str, bool], precision: str) -> None:
    provider = Provider("tensorrt", **choice)  # type: ignore[arg-type]
    assert provider.flags(precision, tensorrt="11.4.1") == (False, False)


@pytest.mark.parametrize(("views", "usual"), [(1, 1), (3, 3), (4, 4), (19, 4)])
def test_an_engine_is_tuned_for_the_views_of_a_frame(views: int, usual: int) -> None:
    assert BatchRange.of(Provider("tensorrt"), views, most=4) == BatchRange(usual=usual, most=4, least=1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "gpu"}, "expected a provider among cpu, cuda, tensorrt, auto, found 'gpu'"),
        ({"name": "CUDAExecutionProvider"}, "found 'CUDAExecutionProvider'"),
        ({"device": -1}, "expected a GPU number of 0 or more, found -1"),
        ({"memory": 0}, "expected memory of at least 1 byte, found 0"),
        ({"workspace": -5}, "expected workspace of at least 1 byte, found -5"),
        ({"workspace": 1 << 63}, "expected workspace"),
        ({"convolutions": "EXHAUSTIVE"}, "expected convolutions among heuristic, exhaustive, default"),
        ({"arena": "kSameAsRequested"}, "expected arena among as-requested, power-of-two"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Provider(**changes)  # type: ignore[arg-type]


def test_providers_in_all_their_spellings() -> None:
    cuda, cpu = Provider("cuda"), Provider()
    spellings: list[Providers] = ["cuda", "CUDAExecutionProvider", cuda, ["cuda"], ("CUDAExecutionProvider",), [cuda]]
    for spelling in spellings:
        assert ranked(spelling) == (cuda,)
    assert ranked(("CPUExecutionProvider",)) == (cpu,)
    assert ranked([Provider("tensorrt", device=1), "cpu"]) == (Provider("tensorrt", device=1), cpu)
    assert ranked("OpenVINOExecutionProvider")[0].execution_provider == "OpenVINOExecutionProvider"
    with pytest.raises(DeviceError, match="found none"):
        ranked(())
    with pytest.raises(UsageError, match="found 'cudaa'"):
        ranked(["cudaa"])


@pytest.mark.parametrize(
    ("wanted", "tried"),
    [
        (("cuda",), ["cuda", "cpu"]),
        (("tensorrt",), ["tensorrt", "cuda", "cpu"]),
        (("tensorrt", "cpu"), ["tensorrt", "cuda", "cpu"]),
        (("auto",), ["tensorrt", "cuda", "cpu"]),
        (("cpu", "cuda"), ["cpu"]),
        (("cuda", "tensorrt"), ["cuda", "tensorrt", "cpu"]),
        (("OpenVINOExecutionProvider",), ["OpenVINOExecutionProvider", "cpu"]),
    ],
)
def test_what_stands_in_for_what(wanted: tuple[str, ...], tried: list[str]) -> None:
    assert [provider.name for provider in with_fallbacks(ranked(wanted))] == tried


def test_stand_ins_keep_the_options() -> None:
    tried = with_fallbacks([Provider("auto", device=3, memory=7)])
    assert [(each.name, each.device, each.memory) for each in tried] == [
        ("tensorrt", 3, 7),
        ("cuda", 3, 7),
        ("cpu", 3, 7),
    ]
