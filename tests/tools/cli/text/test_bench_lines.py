"""What `spade-edge bench` says about heat, a busy machine, a camera and late frames, in lines of 100 columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spade_edge.tools.benchmark.conditions import Conditions
from spade_edge.tools.benchmark.matching_cost import MatchingCost
from spade_edge.tools.benchmark.measurement import Beside, Lateness, Measured, Stage
from spade_edge.tools.benchmark.times import Late, Times
from spade_edge.tools.cli.text.bench import lines

QUIET = Conditions(41.2, 78.6, 3894.0, 2600.4, 0, blocks=240)
UNKNOWN = Conditions(None, None, None, None, None, blocks=240)
COST = MatchingCost(byte_products=108000, float_products=33000, gathered=50612.3, keys_gathered=10123.4)
VALUE: dict[str, Any] = {
    "machine": {
        "cpu": "NVIDIA Jetson AGX Orin Developer Kit, 12 x Cortex-A78AE", "cores": 12, "threads": "one a core",
        "processor_class": "ARM with dot products and i8mm", "provider": "TensorrtExecutionProvider",
        "matched_on": "cpu", "onnxruntime": "1.23.2", "numpy": "1.26.4", "python": "3.10.12",
        "spade-edge": "0.1.0.dev20",
    },
    "bundle": {"path": "part.spade", "images": 1600, "gallery_megabytes_an_image": 1.5312, "search": "place"},
    "open_seconds": 12.3456,
    "frame_size": [8192, 12288],
    "memory": {"resident_megabytes": 12345.6, "beyond_bundle_megabytes": -12345.6},
    "recall": {"frames": 4, "images": 123, "distance": 0.00123, "same": 0.98765, "score": 0.01234},
}  # fmt: skip


def measured(network: list[float] | None = None) -> Measured:
    """1,200 frames of 20 seconds each, so that numbers are as wide as they can be."""
    frame = Times.of(np.linspace(20_000, 21_000, 1200).tolist())
    alone = Times.of(network or np.linspace(15_000, 16_000, 1200).tolist())
    names = ("view", "alignment", "network", "matching", "codes", "candidates", "comparison", "map")
    late = Late(1200, 117, 38)
    return Measured(
        frames=1200,
        frame=frame,
        network=alone,
        stages={},
        by_stage={name: Stage(frame, 123.456) for name in names},
        ratio=1.333,
        spread=1.01,
        batch=12_345.6,
        camera=Beside(frame, rate=29.97, delivered=28.4567, ratio=1.0123),
        late=Lateness(20_900.25, late, replace(late, count=0, in_a_row=0)),
    )


def said(conditions: Conditions = QUIET, **changes: Any) -> list[str]:
    return lines(VALUE, replace(measured(), **changes), COST, conditions)


def entry(text: list[str], label: str) -> str:
    """What is said under a label, in one line."""
    start = next(i for i, line in enumerate(text) if line.startswith(f"{label:13}"))
    end = next((i for i in range(start + 1, len(text)) if not text[i].startswith(" " * 13)), len(text))
    return " ".join(" ".join(text[start:end]).removeprefix(label).split())


def test_the_widest_figures_fit_a_hundred_columns() -> None:
    for text in (said(), said(UNKNOWN)):
        assert max(len(line) for line in text) <= 100
    assert "too few" not in " ".join(text) and not any(" - " in line for line in text)


def test_heat_and_clock() -> None:
    assert entry(said(), "heat, clock") == (
        "41 °C at the start, 79 °C at the end; fastest core at 3894 MHz (median), 2600 MHz (lowest); not throttled"
    )
    assert "; throttled during 7 of 240 blocks of frames" in entry(said(replace(QUIET, throttled=7)), "heat, clock")
    text = said(UNKNOWN)
    assert entry(text, "heat, clock") == "unknown, because this system does not say: temperature, clock, throttling"
    assert " ".join(text).count("unknown") == 1
    half = entry(said(replace(QUIET, megahertz=None, lowest_megahertz=None)), "heat, clock")
    assert half.endswith("not throttled; unknown, because this system does not say: clock")


def test_the_camera_and_late_frames() -> None:
    assert entry(said(), "camera") == (
        "beside a thread that decodes 28.5 frames a second (29.97 were due), a frame takes 1.012 times as long"
    )
    assert entry(said(), "late") == (
        "over 20,900.25 ms: 117 of 1200 frames, at most 38 in a row; beside the camera: none of 1200 frames"
    )


def test_frames_of_the_kind_that_takes_longest_are_named() -> None:
    assert not any(line.startswith("not good") for line in said(not_good=600))
    assert entry(said(not_good=601), "not good").startswith("601 of 1200 frames were not judged good")


@pytest.mark.parametrize(("slow", "warned"), [(100, False), (130, True)])  # of 1,200 runs
def test_a_busy_machine_is_named(slow: int, warned: bool) -> None:
    text = said(network=Times.of([10.0] * (1200 - slow) + [25.0] * slow))
    assert any(line.startswith("not quiet") for line in text) == warned
    assert not warned or "more than 2.5 times the median" in entry(text, "not quiet")


@pytest.mark.parametrize(
    ("provider", "matched_on", "words"),
    [
        ("CPUExecutionProvider", "cpu", "CPUExecutionProvider, onnxruntime"),
        ("CPUExecutionProvider", "device", "CPUExecutionProvider for network and matching, onnxruntime"),
        ("CUDAExecutionProvider", "cpu", "CUDAExecutionProvider, matching on the CPU, onnxruntime"),
        ("CUDAExecutionProvider", "device", "CUDAExecutionProvider for network and matching, onnxruntime"),
    ],
)
def test_where_cells_are_matched(provider: str, matched_on: str, words: str) -> None:
    value = VALUE | {"machine": VALUE["machine"] | {"provider": provider, "matched_on": matched_on}}
    assert entry(lines(value, measured(), COST, QUIET), "runs on").startswith(words)


def test_what_was_not_measured_is_not_mentioned() -> None:
    text = said(camera=None, late=None, batch=None, spread=None)
    assert not {"camera", "late", "batches", "spread"} & {line.partition(" ")[0] for line in text}
    text = said(late=Lateness(5.0, Late(1, 1, 1), None))
    assert entry(text, "late") == "over 5 ms: 1 of 1 frame, at most 1 in a row"
