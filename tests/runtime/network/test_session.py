"""Choosing a provider, falling back, and running on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from fake_gpu import CPU, CUDA, NO_KERNEL, TENSORRT, Machine
from numpy.typing import NDArray
from onnxruntime import OrtValue

from spade_edge.runtime import DeviceError, UsageError
from spade_edge.runtime.kernels.ort import open_session
from spade_edge.runtime.network.card import INPUT
from spade_edge.runtime.network.provider import Provider, Providers
from spade_edge.runtime.network.session import Session


def test_the_cpu_needs_no_measuring(model: Path) -> None:
    for providers in ("cpu", CPU, (CPU,), Provider()):
        session = Session.open(model, providers=providers)
        assert (session.provider, session.node_fractions, session.passed_over) == (CPU, {CPU: 1.0}, ())


def test_a_session_of_ones_own_is_taken_as_it_is(model: Path) -> None:
    session = Session(open_session(str(model), providers=(CPU,), threads=1))
    assert session.provider == CPU and session.node_fractions == {CPU: 1.0}


def test_no_run_has_more_views_than_are_allowed(model: Path, views: NDArray[np.float32]) -> None:
    plain, sizes = open_session(str(model), providers=(CPU,), threads=1), []

    def run(some: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        sizes.append(len(some))
        return list(plain.run(session.card.outputs, {INPUT: some}))

    session = Session(plain, most=3, run=run)
    assert len(session(views)) == 7 and sizes == [3, 3, 1]
    assert session(views[:0]) == []


def test_no_run_has_more_views_than_the_engine_is_built_for(
    install: Callable[[Machine], Machine], model: Path, views: NDArray[np.float32]
) -> None:
    machine = install(Machine())
    assert len(Session.open(model, providers="tensorrt", most=3)(views)) == 7
    assert machine.runs == [1, 3, 3, 1]  # the first is the check


def test_a_fallback_goes_from_tensorrt_to_cuda(install: Callable[[Machine], Machine], model: Path) -> None:
    install(Machine(missing={"libnvinfer.so.10": "libnvinfer.so.10: cannot open shared object file"}))
    session = Session.open(model, providers="tensorrt", allow_fallback=True)
    assert session.provider == CUDA
    (reason,) = session.passed_over
    assert reason.startswith("tensorrt: ") and "libnvinfer.so.10: cannot open" in reason and "LD_LIBRARY_PATH" in reason
    with pytest.raises(DeviceError, match=r"libnvinfer\.so\.10"):
        Session.open(model, providers=("tensorrt", "cpu"))  # an order of preference is no leave to fall back


def test_auto_takes_the_best_that_is_ready_and_works(install: Callable[[Machine], Machine], model: Path) -> None:
    machine = install(Machine())
    session = Session.open(model, providers="auto", most=4)
    assert session.provider == CUDA and machine.built == []  # nothing that would take half an hour
    assert session.passed_over == (
        "tensorrt: expected an engine built on this machine, found none; run 'spade-edge prepare'",
    )
    Session.open(model, providers="tensorrt", most=4)
    session = Session.open(model, providers="auto", most=4)
    assert session.provider == TENSORRT and session.passed_over == ()
    machine.raises[TENSORRT] = "out of memory"
    machine.fails[CUDA] = NO_KERNEL
    session = Session.open(model, providers="auto", most=4)
    assert session.provider == CPU
    assert "out of memory" in session.passed_over[0] and NO_KERNEL in session.passed_over[1]


def test_auto_on_a_machine_without_a_gpu_is_the_cpu(model: Path) -> None:
    if {CUDA, TENSORRT} & set(onnxruntime.get_available_providers()):
        pytest.skip("this onnxruntime knows GPUs")
    session = Session.open(model, providers="auto")
    assert session.provider == CPU and len(session.passed_over) == 2


@pytest.mark.parametrize("providers", ["gpu", ["cpu", "gpu"], "ExecutionProviders"])
def test_an_unknown_provider_is_a_usage_error(model: Path, providers: Providers) -> None:
    with pytest.raises(UsageError, match="cpu, cuda, tensorrt, auto"):
        Session.open(model, providers=providers)


def test_features_that_stay_are_those_that_come_back(model: Path, views: NDArray[np.float32]) -> None:
    session = Session.open(model, threads=1, most=4)
    assert session.device == "cpu" and session.takes_values
    several = views[:3]
    for given in (several, several[:, ::-1, ::-1], OrtValue.ortvalue_from_numpy(np.ascontiguousarray(several))):
        host = given if isinstance(given, np.ndarray) else given.numpy()
        found, expected = session.resident(given), session(np.ascontiguousarray(host))
        assert len(found) == 3
        for number, wanted in enumerate(expected):
            assert all(np.array_equal(a, b) for a, b in zip(found[number].levels, wanted.levels, strict=True))
            assert np.array_equal(found[number].descriptor, wanted.descriptor)
    before = session.resident(views[:1])[0].levels[0].copy()
    kept = session.resident(views[:1])
    session.resident(views[1:2])
    assert np.array_equal(kept[0].levels[0], before)  # a later run does not write over them


def test_features_stay_on_the_gpu_and_their_descriptors_come_back(
    install: Callable[[Machine], Machine], model: Path, views: NDArray[np.float32]
) -> None:
    machine = install(Machine())
    session = Session.open(model, providers=Provider("cuda", device=1), most=4)
    assert (session.device, session.takes_values) == ("cuda", True)
    machine.devices.clear()
    expected = session(views[:2])
    found = session.resident(views[:2])
    assert sorted(machine.devices) == [("cpu", 0)] + [("cuda", 1)] * len(session.card.levels)
    assert np.array_equal(found[1].levels[2], expected[1].levels[2])
    machine.fails[CUDA] = NO_KERNEL
    with pytest.raises(DeviceError, match="no kernel image"):
        session.resident(views[:2])
    machine.fails.clear()
    fixed = Session.open(model, providers=Provider("cuda", cuda_graph=True))
    assert not fixed.takes_values
    assert np.array_equal(fixed.resident(views[:1])[0].levels[0], session(views[:1])[0].levels[0])
