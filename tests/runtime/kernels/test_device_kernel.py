"""Graphs whose inputs and results stay on the device, on the CPU and on a GPU that is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fake_gpu import CPU, CUDA, NO_DRIVER, NO_KERNEL, Machine
from numpy.typing import NDArray

from spade_edge.runtime import DeviceError
from spade_edge.runtime.kernels.device_kernel import DeviceKernel
from spade_edge.runtime.kernels.graph_writer import FLOAT, Graph

RNG = np.random.default_rng(0)
LEFT = RNG.integers(-9, 9, (3, 5)).astype(np.float32)  # whole numbers: their products are exact
RIGHT = RNG.integers(-9, 9, (5, 4)).astype(np.float32)


def product() -> Graph:
    """The product of two matrices, and the same negated."""
    graph = Graph()
    left, right = graph.input("left", np.float32, ("m", "k")), graph.input("right", np.float32, ("k", "n"))
    both = graph.node("MatMul", left, right)
    graph.output("product", both, np.float32)
    graph.output("negated", graph.node("Neg", both), np.float32)
    return graph


def same(graph: Graph, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """What a graph of one node makes of an array."""
    (value,) = DeviceKernel(graph, threads=1)(array=array)
    return np.asarray(value.numpy())


def test_outputs_come_in_the_order_of_their_declaration() -> None:
    first, second = DeviceKernel(product(), threads=1)(left=LEFT, right=RIGHT)
    assert np.array_equal(first.numpy(), LEFT @ RIGHT)
    assert np.array_equal(second.numpy(), -(LEFT @ RIGHT))


def test_a_later_run_does_not_write_over_results() -> None:
    kernel = DeviceKernel(product(), threads=1)
    kernel.keep(right=RIGHT)
    results = [kernel(left=LEFT + i)[0] for i in range(4)]
    results += kernel(left=LEFT[:1])  # of another size
    for i, result in enumerate(results[:4]):
        assert np.array_equal(result.numpy(), (LEFT + i) @ RIGHT)
    assert np.array_equal(results[4].numpy(), LEFT[:1] @ RIGHT)


def test_what_is_kept_stays_until_it_is_given_again() -> None:
    kernel = DeviceKernel(product(), threads=1)
    kernel.keep(left=LEFT, right=RIGHT.copy())  # nothing else refers to the copy
    assert np.array_equal(kernel()[0].numpy(), LEFT @ RIGHT)
    assert np.array_equal(kernel(right=2 * RIGHT)[0].numpy(), LEFT @ (2 * RIGHT))  # for this run alone
    assert np.array_equal(kernel()[0].numpy(), LEFT @ RIGHT)
    kernel.keep(right=3 * RIGHT)
    assert np.array_equal(kernel()[0].numpy(), LEFT @ (3 * RIGHT))


def test_results_are_inputs_of_the_next_kernel() -> None:
    first, second = DeviceKernel(product(), threads=1), DeviceKernel(product(), threads=1)
    second.keep(right=RNG.integers(-9, 9, (4, 4)).astype(np.float32))
    put = first.put(RIGHT)
    (once, _) = first(left=LEFT, right=put)
    (twice, _) = second(left=once, right=first.put(np.eye(4, dtype=np.float32)))
    assert np.array_equal(twice.numpy(), LEFT @ RIGHT)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i4", "i8", "bool", "f2", "f4"])
@pytest.mark.parametrize("shape", [(), (0, 3), (4, 3, 2)])
def test_every_type_and_shape_arrives(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.array(RNG.integers(0, 2, shape), dtype)
    graph = Graph()
    graph.output("out", graph.node("Identity", graph.input("array", dtype, shape)), dtype)
    found = same(graph, array)
    assert found.dtype == array.dtype and found.shape == shape
    assert np.array_equal(found, array)


def test_strides_do_not_matter() -> None:
    graph = Graph()
    graph.output("out", graph.node("Cast", graph.input("array", np.uint8, ("m", "n")), to=FLOAT), np.float32)
    array = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    array.flags.writeable = False
    for strided in (array, array[::2, ::-1], array.T, np.asfortranarray(array)):
        assert np.array_equal(same(graph, strided), strided.astype(np.float32))


def test_on_a_gpu_everything_is_put_there(install: Callable[[Machine], Machine]) -> None:
    machine = install(Machine())
    kernel = DeviceKernel(
        product(), execution_provider=CUDA, options={"device_id": "1", "use_tf32": "0"}, threads=1, number=1
    )
    assert machine.asked == [[(CUDA, {"device_id": "1", "use_tf32": "0"})]]
    assert (kernel.device, kernel.number) == ("cuda", 1)
    kernel.keep(right=RIGHT)
    (found, _) = kernel(left=LEFT)
    assert np.array_equal(found.numpy(), LEFT @ RIGHT)
    assert machine.devices == [("cuda", 1)] * 4  # two inputs and two outputs
    kernel(left=kernel.put(LEFT))
    assert machine.devices == [("cuda", 1)] * 7  # what is kept is not put there again


REFUSALS = {
    "dropped": Machine(dropped=(CUDA,)),
    "no driver": Machine(raises={CUDA: NO_DRIVER}),
    "1.17 falls back by itself": Machine(version="1.17.1", raises={CUDA: NO_DRIVER}),
}


@pytest.mark.parametrize("machine", REFUSALS.values(), ids=REFUSALS)
def test_a_gpu_that_is_not_obtained_is_an_error(
    install: Callable[[Machine], Machine], machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    install(machine)
    with pytest.raises(DeviceError, match=f"expected {CUDA}, found ") as caught:
        DeviceKernel(product(), execution_provider=CUDA, threads=1)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_a_run_that_fails_on_a_gpu_does_not_go_on_elsewhere(
    install: Callable[[Machine], Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    machine = install(Machine())
    kernel = DeviceKernel(product(), execution_provider=CUDA, threads=1)
    machine.fails[CUDA] = NO_KERNEL
    with pytest.raises(DeviceError, match="no kernel image"):
        kernel(left=LEFT, right=RIGHT)
    assert capsys.readouterr().out == ""


def test_inputs_that_do_not_fit_are_an_error_in_one_line() -> None:
    kernel = DeviceKernel(product(), threads=1)
    assert kernel.device == "cpu"
    for inputs in ({"left": LEFT}, {"left": LEFT, "right": LEFT}, {"left": LEFT.astype("u1"), "right": RIGHT}):
        with pytest.raises(DeviceError, match=CPU) as caught:
            kernel(**inputs)
        assert "\n" not in str(caught.value)
