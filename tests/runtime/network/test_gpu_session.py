"""A GPU that is asked for and not obtained is an error, and what it runs is measured; on a GPU that is none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from fake_gpu import CPU, CUDA, NO_DRIVER, NO_KERNEL, NO_TENSORRT, TENSORRT, Machine
from numpy.typing import NDArray

from spade_edge.runtime import DeviceError, ModelError
from spade_edge.runtime.kernels.ort import open_session
from spade_edge.runtime.network.engine_cache import PREPARED
from spade_edge.runtime.network.gpu_session import FixedRun
from spade_edge.runtime.network.provider import Provider
from spade_edge.runtime.network.session import Session

NO_LIBRARY = "libcublasLt.so.12: cannot open shared object file: No such file or directory"


MISSING = {
    "libonnxruntime_providers_cuda.so": NO_LIBRARY,
    "libonnxruntime_providers_tensorrt.so": NO_LIBRARY,
}


Capture = pytest.CaptureFixture[str]


FAILURES = {
    "dropped": (Machine(dropped=(CUDA, TENSORRT), missing=MISSING), NO_LIBRARY),
    "dropped without a word": (Machine(dropped=(CUDA, TENSORRT)), "gives no reason"),
    "no driver": (
        Machine(raises={CUDA: NO_DRIVER, TENSORRT: NO_DRIVER}),
        'here: Failed to parse provider option "device_id": CUDA failure 35: CUDA driver version is insufficient for '
        "CUDA runtime version; give onnxruntime 1.23.2, built for CUDA 12.2,",
    ),
    "no TensorRT": (Machine(raises={CUDA: NO_TENSORRT, TENSORRT: NO_TENSORRT}, missing=MISSING), NO_LIBRARY),
    "onnxruntime 1.17, falls back by itself": (
        Machine(version="1.17.1", raises={CUDA: NO_DRIVER, TENSORRT: NO_DRIVER}),
        "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version; give onnxruntime 1.17.1",
    ),
    "fails when it runs": (Machine(fails={CUDA: NO_KERNEL, TENSORRT: NO_KERNEL}), NO_KERNEL),
    "1.17 fails when it runs": (Machine(version="1.17.1", fails={CUDA: NO_KERNEL, TENSORRT: NO_KERNEL}), NO_KERNEL),
    "not compiled in": (
        Machine(offered=("AzureExecutionProvider", CPU)),
        f"onnxruntime (AzureExecutionProvider, {CPU})",
    ),
}


def features(session: Session, views: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [array for pyramid in session(views) for array in (*pyramid.levels, pyramid.descriptor)]


@pytest.mark.parametrize("version", ["1.17.3", "1.23.2"])
def test_on_cuda_what_ran_where_is_counted(
    install: Callable[[Machine], Machine], model: Path, views: NDArray[np.float32], version: str, capsys: Capture
) -> None:
    expected = features(Session.open(model), views)
    machine = install(Machine(version=version, left=("Gather",)))
    session = Session.open(model, providers=Provider("cuda", device=1), most=4)
    assert session.provider == CUDA and session.passed_over == ()
    assert list(session.node_fractions) == [CUDA, CPU]
    assert (
        session.node_fractions[CUDA] == pytest.approx(1 - session.node_fractions[CPU])
        and 0 < session.node_fractions[CPU] < 0.2
    )
    tf32 = {} if version.startswith("1.17") else {"use_tf32": "0"}
    options = {"device_id": "1", "arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
    assert machine.asked == [[(CUDA, options | tf32)]]
    # Where there is no option, the variable that NVIDIA's libraries read.
    assert os.environ.get("NVIDIA_TF32_OVERRIDE") == (None if tf32 else "0")
    for found, want in zip(features(session, views), expected, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
    assert machine.severities == [4, 3]  # silent while it opens, then errors
    assert capsys.readouterr() == ("", "")


def test_tensorrt_builds_once_and_takes_cuda_for_the_rest(
    install: Callable[[Machine], Machine], model: Path, views: NDArray[np.float32], tmp_path: Path
) -> None:
    expected = features(Session.open(model), views)
    machine = install(Machine(left=("Gather",)))
    for _ in range(2):
        session = Session.open(model, providers="tensorrt", views=2, most=4)
    assert len(machine.built) == 1 and len(machine.asked) == 2
    assert session.provider == TENSORRT and list(session.node_fractions) == [TENSORRT, CUDA]
    nodes = len(onnx.load(model).graph.node)
    assert session.node_fractions == {TENSORRT: 1 - 1 / nodes, CUDA: pytest.approx(1 / nodes)}
    (folder,) = (path for path in (tmp_path / "cache" / "spade-edge" / "engines").glob("*-*") if path.is_dir())
    assert (folder / PREPARED).exists()
    (first, options), (second, _) = machine.asked[1]
    assert (first, second) == (TENSORRT, CUDA)
    assert options == {
        "device_id": "0",
        "trt_max_workspace_size": str(1 << 30),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
        "trt_profile_min_shapes": "frames:1x64x64x3",
        "trt_profile_opt_shapes": "frames:2x64x64x3",
        "trt_profile_max_shapes": "frames:4x64x64x3",
    }
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    for found, want in zip(features(session, views), expected, strict=True):  # 7 views in runs of 4 at most
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


def test_tf32_is_ones_own_choice(
    install: Callable[[Machine], Machine], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = install(Machine())
    Session.open(model, providers=Provider("tensorrt", tf32=True))
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    Session.open(model, providers="tensorrt")
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"
    assert len(machine.built) == 1  # allowed both times
    Session.open(model, providers=Provider("cuda", tf32=True))
    assert machine.asked[-1][0][1]["use_tf32"] == "1"


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_what_is_asked_for_and_not_obtained_is_an_error(
    install: Callable[[Machine], Machine], model: Path, provider: str, failure: str, capfd: pytest.CaptureFixture[str]
) -> None:
    machine, says = FAILURES[failure]
    install(machine)
    with pytest.raises(DeviceError) as caught:
        Session.open(model, providers=provider)
    assert says in str(caught.value) and caught.value.exit_code == 4
    assert {"cuda": CUDA, "tensorrt": TENSORRT}[provider] in str(caught.value)
    for noise in ("hostname", "/onnxruntime_src", "::", "\n"):
        assert noise not in str(caught.value)
    # One that may fall back goes on, and knows why.
    session = Session.open(model, providers=provider, allow_fallback=True)
    assert session.provider == CPU and session.node_fractions == {CPU: 1.0}
    assert session.passed_over[0].startswith(f"{provider}: ") and says in session.passed_over[0]
    assert (
        [each.split(":")[0] for each in session.passed_over] == ["cuda"] if provider == "cuda" else ["tensorrt", "cuda"]
    )
    assert capfd.readouterr() == ("", "")


def test_a_provider_that_runs_nothing_is_not_obtained(install: Callable[[Machine], Machine], model: Path) -> None:
    operators = {node.op_type for node in onnx.load(model).graph.node} | {"ReorderOutput", "FusedConv"}
    install(Machine(left=tuple(operators)))
    with pytest.raises(DeviceError, match=f"{CUDA} .*none of its nodes"):
        Session.open(model, providers="cuda")


def test_a_network_that_fails_later_does_not_go_on_elsewhere(
    install: Callable[[Machine], Machine], model: Path, views: NDArray[np.float32], capsys: Capture
) -> None:
    machine = install(Machine())
    session = Session.open(model, providers="cuda")
    machine.fails[CUDA] = "CUDA failure 719: unspecified launch failure"
    with pytest.raises(DeviceError, match=f"the network fails on {CUDA}: CUDA failure 719"):
        session(views[:1])
    assert capsys.readouterr().out == ""


def test_half_an_engine_is_never_loaded(install: Callable[[Machine], Machine], model: Path, tmp_path: Path) -> None:
    machine = install(Machine(fails={TENSORRT: NO_KERNEL}))
    with pytest.raises(DeviceError, match="no kernel image"):
        Session.open(model, providers="tensorrt")
    machine.fails.clear()
    Session.open(model, providers="tensorrt")
    assert len(machine.built) == 2  # it was never believed
    install(Machine(writes=False))
    with pytest.raises(DeviceError, match="found none"):
        Session.open(model, providers=Provider("tensorrt", workspace=5))


def test_a_model_with_an_engine_in_it_is_refused_on_a_gpu(
    install: Callable[[Machine], Machine], model: Path, tmp_path: Path
) -> None:
    whole = onnx.load(model)
    whole.graph.node.append(onnx.helper.make_node("EPContext", [], ["x"], domain="com.microsoft"))
    onnx.save(whole, tmp_path / "engine.onnx")
    machine = install(Machine())
    for provider in ("cuda", "tensorrt"):
        with pytest.raises(ModelError, match="engine"):
            Session.open(tmp_path / "engine.onnx", providers=provider, allow_fallback=True)
    assert machine.asked == []


def test_a_bad_model_is_no_fault_of_the_gpu(install: Callable[[Machine], Machine], model: Path, tmp_path: Path) -> None:
    install(Machine())
    (tmp_path / "bad.onnx").write_bytes(b"no model at all")
    with pytest.raises(ModelError, match="expected an ONNX model"):
        Session.open(tmp_path / "bad.onnx", providers="cuda", allow_fallback=True)
    with pytest.raises(ModelError, match="found none"):
        Session.open(tmp_path / "absent.onnx", providers="cuda", allow_fallback=True)
    whole = onnx.load(model)
    next(node for node in whole.graph.node if node.op_type == "Relu").op_type = "Gelu"  # newer than the file's opset
    onnx.save(whole, tmp_path / "gelu.onnx")
    with pytest.raises(ModelError, match=r"onnxruntime 1\.23\.2 says: .*Gelu"):
        Session.open(tmp_path / "gelu.onnx", providers="cuda", allow_fallback=True)


def test_nothing_is_left_in_the_temporary_folder(
    install: Callable[[Machine], Machine], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path / "scratch")  # where onnxruntime would write without being told
    machine = install(Machine())
    Session.open(model, providers="cuda")
    machine.fails[CUDA] = NO_KERNEL
    with pytest.raises(DeviceError):
        Session.open(model, providers="cuda")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_graph_runs_at_fixed_addresses_one_view_at_a_time(
    install: Callable[[Machine], Machine], model: Path, views: NDArray[np.float32]
) -> None:
    expected = features(Session.open(model), views)
    machine = install(Machine())
    session = Session.open(model, providers=Provider("cuda", cuda_graph=True, device=1), most=4)
    assert machine.asked[0][0][1]["enable_cuda_graph"] == "1"
    assert machine.devices == [("cuda", 1)] * 5  # the input, three levels, the descriptor
    for found, want in zip(features(session, views), expected, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
    assert len(machine.devices) == 5 and session.node_fractions == {CUDA: 1.0}
    Session.open(model, providers=Provider("tensorrt", cuda_graph=True), most=4)
    options = machine.asked[1][0][1]
    assert options["trt_cuda_graph_enable"] == "True" and options["trt_profile_max_shapes"] == "frames:1x64x64x3"


def test_a_run_at_fixed_addresses_gives_copies(model: Path, views: NDArray[np.float32]) -> None:
    session = open_session(str(model), providers=(CPU,), threads=1)
    names = [port.name for port in session.get_outputs()]
    shapes = {port.name: (1, *port.shape[1:]) for port in session.get_outputs()}
    run = FixedRun(session, inputs=("frames", (1, 64, 64, 3)), outputs=shapes, device="cpu")
    first, second = run(views[:1]), run(views[1:2, :, ::-1])
    for found, seen in ((first, views[:1]), (second, views[1:2, :, ::-1])):
        want = session.run(names, {"frames": np.ascontiguousarray(seen)})
        assert all(np.array_equal(a, b) for a, b in zip(found, want, strict=True))
