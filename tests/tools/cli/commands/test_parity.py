"""`spade-edge parity`: golden frames on a device, and the way from torch to the device on frames of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from altered import replaced
from command_line import run
from numpy.typing import NDArray

from spade_edge.export import Precision, TorchPyramid, build_pyramid, export_pyramid
from spade_edge.galleries import Built, build
from spade_edge.galleries.sample_views import sample_views
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.observation import Difference
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.geometry.view import View
from spade_edge.tools.cli.text.parity import stage_lines
from spade_edge.tools.evaluation.device_parity import ParityStage

torch = pytest.importorskip("torch")

SMALL = View(resize=(64, 64), size=(64, 64))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, part: Callable[..., NDArray[np.uint8]]) -> Path:
    """Three good frames and two with a flaw."""
    folder = tmp_path_factory.mktemp("frames")
    for seed in range(5):
        np.save(folder / f"{seed}.npy", part(100 + seed, flaw=seed > 2))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, torch_pyramid: TorchPyramid) -> Path:
    """The weights of `exported`'s network as a file, as `export --weights` reads it."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    state = {name.split(".", 2)[2]: x for name, x in torch_pyramid.state_dict().items() if name.startswith("stages.")}
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, torch_pyramid: TorchPyramid, good_images: Path, weights: Path
) -> Callable[[Precision], Built]:
    """Makes bundles with torch's network, which say what weights it is from."""

    def make(precision: Precision) -> Built:
        folder = tmp_path_factory.mktemp(precision.name)
        note = {"source": "file", "file": weights.name, "sha256": sha256(weights)}
        export_pyramid(torch_pyramid, folder / "m.onnx", view=SMALL, weights_note=note, precision=precision)
        return build(good_images, model=folder / "m.onnx", output=folder / f"{precision.name}.spade")

    return make


@pytest.fixture(scope="module")
def exported(made: Callable[[Precision], Built]) -> Built:
    """A bundle with the network as it is."""
    return made(Precision("fp32"))


@pytest.fixture(scope="module")
def int8(made: Callable[[Precision], Built], good_images: Path) -> Built:
    """`exported` with the network in 8 bits."""
    return made(Precision("int8", views=sample_views(good_images, SMALL)))


def test_golden_frames_on_the_machine_that_built_the_bundle(
    exported: Built, int8: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "parity", "--bundle", exported.path, "--bundle", int8.path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == (
        f"{exported.path}, fp32, on CPUExecutionProvider: golden frames against the machine that built it"
    )
    assert lines[1].split() == ["frame", "level1", "level2", "level3", "distances", "heatmap", "score", "verdict"]
    assert lines[2].split() == ["1", *["0.0e+00"] * 6, "good"]
    assert lines[4] == "reproduced: at most 0.0e+00 off, 0.01 allowed"
    assert lines[-1] == "reproduced: at most 0.0e+00 off, 0.1 allowed"


def test_golden_frames_on_another_machine(exported: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    role = "golden_level3"
    other = np.load(exported.path / exported.manifest.files[role].name) * np.float32(1.5)
    copy = replaced(exported.path, tmp_path / "copy.spade", role, other)
    code, out, err = run(capsys, "parity", "--bundle", copy)
    assert code == 4
    assert "3.3e-01" in out
    assert "reproduced" not in out
    assert err.startswith(
        "spade-edge: golden frame 1: expected what the machine that built the bundle found, within 1%"
    )
    assert err.count("\n") == 1
    code, out, err = run(capsys, "parity", "--bundle", copy, "--json")
    assert code == 4
    found = json.loads(out)["stages"][0]
    assert found["worst"]["level3"] == pytest.approx(1 / 3)
    assert found["flips"] == 0


def test_from_torch_to_8_bits(
    exported: Built, int8: Built, weights: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ("--bundle", exported.path, "--bundle", int8.path)
    code, out, err = run(capsys, "parity", *both, "--weights", weights, frames, "--json")
    assert (code, err.count("5 frames with ")) == (0, 3)
    value = json.loads(out)
    assert (value["frames"], value["reference"]) == (5, f"the network in torch, with the gallery of {exported.path}")
    plain, rounded = value["stages"]
    assert [plain["precision"], rounded["precision"]] == ["fp32", "int8 for cpu"]
    for name in ("level1", "level2", "level3"):
        assert 0 < plain["worst"][name] < 1e-5
        assert 1e-3 < rounded["worst"][name] < 0.1
    assert plain["worst"]["distances"] < 5e-3  # a feature beside the middle of two codes may be rounded otherwise
    assert plain["flips"] == 0
    # Against torch by hand.
    frame = np.load(frames / "4.npy")
    first, second = (Scorer.open(built.path) for built in (exported, int8))
    views = torch.from_numpy(first.preprocessor(frame))
    state = torch.load(weights, weights_only=True)
    with torch.inference_mode():
        want = build_pyramid("resnet18", state=state)(views)[2].numpy()[0]
    have = second.session(views.numpy())[0].levels[2]
    rows = np.arange(8) * 4 // 8
    a, b = have[rows][:, rows], want[rows][:, rows]
    by_hand = np.sqrt(((a - b) ** 2).mean() / (b**2).mean())
    assert rounded["frames"][4]["levels"]["level3"] == pytest.approx(by_hand, rel=1e-4)


def test_a_table_for_people(exported: Built, int8: Built, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ("--bundle", exported.path, "--bundle", int8.path)
    code, out, err = run(capsys, "parity", *both, frames, "--count", 2)
    assert (code, err.count("2 frames with ")) == (0, 2)
    title, header, row = out.splitlines()
    assert title == f"2 frames of {frames}; largest differences to {exported.path}, fp32, CPUExecutionProvider"
    assert header.split()[:3] == ["level1", "level2", "level3"]
    assert row.startswith(f"{int8.path}, int8 for cpu, CPUExecutionProvider  ")
    assert row.endswith(" of 2")


def test_flips_and_the_worst_of_all_frames() -> None:
    def seen(share: float, found: str) -> Difference:
        return Difference({"level1": share}, share / 2, share / 4, -share, expected="good", found=found)

    stage = ParityStage("a", "int8", "here", (seen(0.1, "good"), seen(0.4, "defect"), seen(0.2, "cannot_judge")))
    assert stage.flips == 2
    assert stage.worst == {"level1": 0.4, "distances": 0.2, "heatmap": 0.1, "score": 0.4}
    assert stage_lines([stage])[1] == "a, int8, here  4.0e-01  2.0e-01    1.0e-01  4.0e-01  2 of 3"
    value: Any = stage.to_json()
    assert [frame["found"] for frame in value["frames"]] == ["good", "defect", "cannot_judge"]


def test_mistakes(
    exported: Built,
    int8: Built,
    with_views: Callable[[str], Built],
    frames: Path,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = {name: x + 1 for name, x in torch.load(weights, weights_only=True).items()}
    other = tmp_path / "other.pth"
    torch.save(state, other)
    (tmp_path / "empty").mkdir()
    mistakes: list[tuple[int, str, tuple[object, ...]]] = [
        (
            2,
            "expected --weights with a SOURCE of frames, found none",
            ("--bundle", exported.path, "--weights", weights),
        ),
        (2, "expected something to compare the bundle with, found one --bundle", ("--bundle", exported.path, frames)),
        (
            2,
            "expected the same good images as",
            ("--bundle", exported.path, "--bundle", with_views("shared").path, frames),
        ),
        (
            3,
            "expected the weights that the model was exported from, weights.pth",
            ("--bundle", int8.path, "--weights", other, frames),
        ),
        (3, "empty: expected", ("--bundle", exported.path, "--bundle", int8.path, tmp_path / "empty")),
        (3, "expected a bundle folder with manifest.json", ("--bundle", tmp_path)),
    ]
    for expected, message, arguments in mistakes:
        code, out, err = run(capsys, "parity", *arguments)
        assert (code, out, err.count("spade-edge: ")) == (expected, "", 1), err
        assert message in err.splitlines()[-1]
