"""The command line as a stranger uses it: real files, exit codes, one line for every mistake."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.cli import main as command
from spade_edge.tools.cli.main import COMMANDS

Frames = Callable[..., NDArray[np.uint8]]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ResNet-18 with random weights, without what a truncated network does not need."""
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    torch.manual_seed(0)
    state = torchvision.models.resnet18(weights=None).state_dict()
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith(("layer4", "fc"))}, path)
    return path


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, part: Frames) -> Path:
    """Four frames to score: a good one, a defective one, a grey one in a subfolder, and one that is no image."""
    folder = tmp_path_factory.mktemp("frames")
    (folder / "sub").mkdir()
    cv2.imwrite(str(folder / "a good.png"), part(20))
    cv2.imwrite(str(folder / "flaw.png"), part(21, flaw=True))
    cv2.imwrite(str(folder / "sub" / "grey.bmp"), part(22)[:, :, 1])
    (folder / "text.png").write_text("no image")
    return folder


def test_export_build_score(capsys: Capture, weights: Path, good_images: Path, frames: Path, tmp_path: Path) -> None:
    model, bundle = tmp_path / "model.onnx", tmp_path / "part.spade"
    code, out, err = run(
        capsys, "export", "--backbone", "resnet18", "--weights", weights, "--input", "64x96", "--output", model
    )
    assert code == 0 and err == ""
    assert re.search(r"^level1 +24x16x64 +\d\.\de-\d\d$", out, re.MULTILINE)
    assert "verified in onnxruntime" in out

    code, out, err = run(capsys, "build", "--model", model, "--images", good_images, "--output", bundle)
    assert code == 0
    assert re.fullmatch(
        rf"{bundle}: 8 good images, \d+ MB, threshold [\d.]+: at most 11.11% of good frames rejected, "
        r"certified by 8 different parts \(95 % interval 0.32% to 36.94%\)\n",
        out,
    )
    assert "8 images found; the bundle will take" in err and "image/s" in err and "leave-one-out" in err
    assert Manifest.read(bundle).model.view.size == (96, 64)

    code, out, err = run(
        capsys,
        "score",
        "--bundle",
        bundle,
        frames,
        "--heatmaps",
        tmp_path / "maps",
        "--overlays",
        tmp_path / "pictures",
    )
    assert code == 1
    lines = {line["frame"]: line for line in map(json.loads, out.splitlines())}
    assert list(lines) == ["a good.png", "flaw.png", "sub/grey.bmp", "text.png"]
    for line in lines.values():
        assert {"frame", "score", "threshold", "verdict", "reason", "regions", "milliseconds"} <= set(line)
        assert (line["reason"] == "") == (line["verdict"] == "good")
    assert lines["flaw.png"]["verdict"] == "defect"
    assert {"x", "y", "width", "height", "score", "mean", "area"} == set(lines["flaw.png"]["regions"][0])
    assert lines["text.png"]["verdict"] == "cannot_judge" and lines["text.png"]["score"] is None
    assert "expected an image" in lines["text.png"]["reason"]
    assert "4 frames: " in err and "2 cannot_judge" in err and "certified" in err and "11.11% of good" in err
    heatmap = np.load(tmp_path / "maps" / "sub" / "grey.npy")
    expected = Scorer.open(bundle)(cv2.imread(str(frames / "sub" / "grey.bmp"), cv2.IMREAD_GRAYSCALE)).heatmap
    assert heatmap.dtype == np.float32 and np.array_equal(heatmap, expected)
    assert cv2.imread(str(tmp_path / "pictures" / "flaw.png")).shape[1] >= 80
    assert not (tmp_path / "maps" / "text.npy").exists()


def test_a_single_good_image_gives_exit_code_0(capsys: Capture, edge: Built, good_images: Path) -> None:
    code, out, _ = run(capsys, "score", "--bundle", edge.path, good_images / "1.npy")
    assert code == 0
    assert json.loads(out)["frame"] == "1.npy" and json.loads(out)["verdict"] == "good"


def test_a_video_is_scored_frame_by_frame(capsys: Capture, edge: Built, part: Frames, tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 96))
    for seed in range(3):
        writer.write(part(seed))
    writer.release()
    code, out, _ = run(capsys, "score", "--bundle", edge.path, path, "--heatmaps", tmp_path / "maps")
    assert code in (0, 1)
    assert [json.loads(line)["frame"] for line in out.splitlines()] == [0, 1, 2]
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["000000.npy", "000001.npy", "000002.npy"]
    path.write_bytes(b"no video at all")
    code, out, err = run(capsys, "score", "--bundle", edge.path, path)
    assert code == 3 and out == "" and "expected a video, found a file that" in err


def test_the_papers_profile_says_where_it_departs(
    capsys: Capture, model: Path, good_images: Path, tmp_path: Path
) -> None:
    code, _, err = run(
        capsys, "build", "--model", model, "--images", good_images, "--output", tmp_path / "b.spade",
        "--profile", "paper", "--neighbours", 3, "--kappa", 2, "--sigma", 1.5, "--projection", "none",
    )  # fmt: skip
    assert code == 0
    assert "deviates from the paper: backbone three_convolutions" in err and "neighbours 3 (paper: 50)" in err
    matching = Manifest.read(tmp_path / "b.spade").matching
    assert (matching.neighbours, matching.kappa, matching.sigma, matching.search) == (3, 2, 1.5, "exact")


def test_json_where_a_table_is_printed(capsys: Capture, weights: Path, good_images: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    code, out, _ = run(
        capsys, "export", "--backbone", "resnet18", "--weights", weights, "--resize", "96", "--crop", "64", "--levels",
        "1,2", "--output", model, "--json",
    )  # fmt: skip
    assert code == 0 and json.loads(out)["card"]["view"] == {"resize": [96, 96], "size": [64, 64]}
    code, out, _ = run(
        capsys, "build", "--model", model, "--images", good_images, "--output", tmp_path / "b.spade", "--json"
    )
    told = json.loads(out)
    assert (
        code == 0
        and told["images"] == 8
        and told["basis"] == "certified"
        and told["repeats"] == []
        and told["parts"] == 8
    )
    assert told["false_rejects"] == pytest.approx(1 / 9) and told["interval"] == pytest.approx([0.00316, 0.3694], 2e-3)


Mistake = tuple[int, list[object], str]


def mistakes(tmp: Path, edge: Built, model: Path, good: Path, frames: Path, weights: Path) -> dict[str, Mistake]:
    """What people do wrong: exit code, command line, what the message must say."""
    (tmp / "empty").mkdir()
    (tmp / "one").mkdir()
    shutil.copy(good / "0.npy", tmp / "one")
    (tmp / "zero").mkdir()
    (tmp / "zero" / "zero.png").touch()
    (tmp / "words").mkdir()
    for name in ("zero", "words"):
        for image in ("0.npy", "1.npy"):
            shutil.copy(good / image, tmp / name)
    (tmp / "words" / "text.png").write_text("hello")
    (tmp / "texts").mkdir()
    (tmp / "texts" / "text.png").write_text("hello")
    for name in ("truncated", "altered", "missing"):
        shutil.copytree(edge.path, tmp / f"{name}.spade")
        path = tmp / f"{name}.spade" / edge.manifest.files["level2"].name
        raw = path.read_bytes()
        path.unlink()
        if name != "missing":
            path.write_bytes(raw[:-9] if name == "truncated" else raw[:-1] + bytes([raw[-1] ^ 1]))
    torch = pytest.importorskip("torch")
    state = torch.load(weights, weights_only=True)
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp / "nan.pth")
    (tmp / "collide").mkdir()
    for suffix in (".png", ".bmp"):
        cv2.imwrite(str(tmp / "collide" / f"a{suffix}"), np.zeros((9, 9), np.uint8))
    build = ["build", "--model", model, "--output", tmp / "new.spade", "--images"]
    export = ["export", "--output", tmp / "new.onnx", "--backbone", "resnet18", "--weights"]
    score = ["score", "--bundle"]
    return {
        "no command": (2, [], "COMMAND"),
        "unknown command": (2, ["train"], "invalid choice"),
        "no bundle given": (2, ["score", frames], "--bundle"),
        "empty folder": (3, [*build, tmp / "empty"], "expected images"),
        "absent folder": (3, [*build, tmp / "absent"], "found nothing"),
        "one image": (3, [*build, tmp / "one"], "at least 2 good images"),
        "zero bytes": (3, [*build, tmp / "zero"], "zero.png: expected an image"),
        "a text": (3, [*build, tmp / "words"], "text.png: expected an image"),
        "kappa 0": (2, [*build, good, "--kappa", 0], "expected kappa from 1"),
        "kappa of letters": (2, [*build, good, "--kappa", "two"], "--kappa"),
        "neighbours 0": (2, [*build, good, "--neighbours", 0], "--neighbours"),
        "sigma nan": (2, [*build, good, "--sigma", "nan"], "expected sigma"),
        "threads 0": (2, [*build, good, "--threads", 0], "--threads"),
        "output is a file": (2, ["build", "--model", model, "--images", good, "--output", weights], "another place"),
        "model is none": (
            3,
            ["build", "--model", weights, "--images", good, "--output", tmp / "n.spade"],
            "expected an ONNX",
        ),
        "no model": (3, ["build", "--model", tmp / "no", "--images", good, "--output", tmp / "n.spade"], "found none"),
        "truncated": (3, [*score, tmp / "truncated.spade", frames], "expected"),
        "altered": (3, [*score, tmp / "altered.spade", frames], "SHA-256"),
        "missing": (3, [*score, tmp / "missing.spade", frames], "No such file"),
        "no bundle": (3, [*score, tmp / "empty", frames], "expected a bundle"),
        "no source": (3, [*score, edge.path, tmp / "absent"], "found nothing"),
        "source without images": (3, [*score, edge.path, tmp / "empty"], "expected images"),
        "source of another kind": (3, [*score, edge.path, weights], "found .pth"),
        "score threads": (2, [*score, edge.path, frames, "--threads", -1], "--threads"),
        "colliding names": (2, [*score, edge.path, tmp / "collide", "--heatmaps", tmp / "m"], "the same name"),
        "anomaly maps into a file": (2, [*score, edge.path, frames, "--heatmaps", weights], "found a file"),
        "anomaly maps over the frames": (
            2,
            [*score, edge.path, tmp / "collide", "--heatmaps", tmp / "collide"],
            "outside",
        ),
        "overlays among the frames": (2, [*score, edge.path, frames, "--overlays", frames / "sub" / "x"], "outside"),
        "overlay over its frame": (2, [*score, edge.path, frames / "flaw.png", "--overlays", frames], "outside"),
        "bundle among the images": (
            2,
            ["build", "--model", model, "--images", good, "--output", good / "b"],
            "outside",
        ),
        "empty source": (2, [*score, edge.path, ""], "expected a path"),
        "empty folder name": (2, [*build, ""], "expected a path"),
        "too many threads": (2, [*build, good, "--threads", 3_000_000_000], "at most 1024"),
        "kappa over the candidates": (
            2,
            [*build, good, "--candidates", 6, "--kappa", 100],
            "expected kappa of at most 96",
        ),
        "model is a folder": (3, [*build, good, "--model", tmp / "words"], "found a folder"),
        "hnsw without codes": (2, [*build, good, "--projection", "none", "--search", "hnsw"], "--search exact"),
        "projection of another version": (2, [*build, good, "--projection", "pca"], "invalid choice"),
        "candidates 0": (2, [*build, good, "--candidates", 0], "expected candidates from 1"),
        "ef 0": (2, [*build, good, "--ef", 0], "expected ef from 1"),
        "bench without a bundle": (2, ["bench"], "--bundle"),
        "bench no bundle": (3, ["bench", "--bundle", tmp / "empty"], "expected a bundle"),
        "bench altered": (3, ["bench", "--bundle", tmp / "altered.spade"], "SHA-256"),
        "bench count 0": (2, ["bench", "--bundle", edge.path, "--count", 0], "--count"),
        "bench batch of letters": (2, ["bench", "--bundle", edge.path, "--batch", "all"], "--batch"),
        "bench camera 0": (2, ["bench", "--bundle", edge.path, "--camera", 0], "--camera"),
        "bench deadline none": (2, ["bench", "--bundle", edge.path, "--deadline", "nan"], "--deadline"),
        "bench size 0": (2, ["bench", "--bundle", edge.path, "--size", "0x9"], "--size"),
        "bench size of three": (2, ["bench", "--bundle", edge.path, "--size", "9x9x3"], "--size"),
        "bench search": (2, ["bench", "--bundle", edge.path, "--search", "hnsw"], "--search"),
        "bench threads": (2, ["bench", "--bundle", edge.path, "--threads", 0], "--threads"),
        "bench frames absent": (3, ["bench", "--bundle", edge.path, "--frames", tmp / "absent"], "found nothing"),
        "bench frames none": (3, ["bench", "--bundle", edge.path, "--frames", tmp / "texts"], "expected frames"),
        "bench no GPU": (4, ["bench", "--bundle", edge.path, "--provider", "cuda"], "CUDAExecutionProvider"),
        "no GPU": (4, [*score, edge.path, frames, "--provider", "cuda"], "CUDAExecutionProvider"),
        "weights with NaN": (3, [*export, tmp / "nan.pth"], "nan.pth"),
        "weights absent": (3, [*export, tmp / "absent.pth"], "absent.pth"),
        "weights of text": (3, [*export, tmp / "words" / "text.png"], "text.png"),
        "input of 65": (2, [*export, weights, "--input", "65"], "multiple of 32"),
        "crop alone": (2, [*export, weights, "--crop", "224"], "--resize and --crop together"),
        "crop and input": (2, [*export, weights, "--input", "64", "--resize", "64", "--crop", "64"], "found both"),
        "levels of letters": (2, [*export, weights, "--levels", "a"], "--levels"),
        "level 7": (2, [*export, weights, "--levels", "7"], "levels"),
        "image level 5": (2, [*export, weights, "--image-level", "5"], "image"),
        "unknown backbone": (2, ["export", "--backbone", "vgg", "--output", tmp / "v.onnx"], "wide_resnet50_2"),
        "demo over something": (2, ["demo", "--output", tmp / "words"], "--output"),
    }


def test_every_mistake_gets_one_line_and_its_exit_code(
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    edge: Built,
    model: Path,
    good_images: Path,
    frames: Path,
    weights: Path,
) -> None:
    for name, (code, arguments, says) in mistakes(tmp_path, edge, model, good_images, frames, weights).items():
        found, out, err = run(capfd, *arguments)
        complaint = [line for line in err.splitlines() if line.startswith("spade-edge")]
        assert found == code, (name, found, err)
        assert len(complaint) == 1 and says in complaint[0], (name, err)
        assert out == "" and "Traceback" not in err, (name, out, err)
        # Beside the complaint there may be the size of the bundle, what a frame costs, and progress, nothing else.
        rest = [line for line in re.split(r"[\r\n]+", err) if line and line not in complaint]
        known = ("the bundle will take", " per frame: about ", "reading images: ")
        assert all(any(text in line for text in known) for line in rest), (name, rest)
    assert not (tmp_path / "new.spade").exists() and not (tmp_path / "new.onnx").exists()


def test_a_fault_of_ours_is_one_line_too(
    capsys: Capture, edge: Built, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(Scorer, "open", fail)
    code, _, err = run(capsys, "score", "--bundle", edge.path, frames)
    assert code == 70 and err.count("\n") == 1
    assert "an internal error in spade-edge, RuntimeError: two lines" in err
    monkeypatch.setenv(command.TRACEBACK, "1")
    assert "Traceback" in run(capsys, "score", "--bundle", edge.path, frames)[2]


@pytest.mark.parametrize("package", ["torch", "onnxruntime", "cv2", "hnswlib"])
def test_a_missing_package_is_named_with_its_extra(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, package: str, edge: Built, good_images: Path, frames: Path,
    model: Path, tmp_path: Path,
) -> None:  # fmt: skip
    extras = {"torch": "export", "onnxruntime": "cpu", "cv2": "camera", "hnswlib": "galleries"}
    build = ["build", "--model", model, "--images", good_images, "--output", tmp_path / "b.spade"]
    arguments: dict[str, list[object]] = {
        "torch": ["export", "--output", tmp_path / "m.onnx"],
        "onnxruntime": ["score", "--bundle", edge.path, frames],
        "cv2": ["score", "--bundle", edge.path, frames / "flaw.png"],
        "hnswlib": build,
    }
    # As if nothing of ours had been imported that imports the package.
    for name in [name for name in sys.modules if name.startswith("spade_edge.export")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = run(capsys, *arguments[package])
    assert code == 4 and out == ""
    (line,) = err.splitlines()  # before any work
    assert f"pip install 'spade-edge[{extras[package]}]'" in line


def test_a_reader_that_goes_away_is_no_fault(edge: Built, frames: Path) -> None:
    score = f"{sys.executable} -m spade_edge.tools.cli.main score --bundle {edge.path} '{frames}'"
    line = f"set -o pipefail; {score} | head -c 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stdout == "{" and done.returncode == 141
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_interrupting_a_build_leaves_nothing(model: Path, good_images: Path, tmp_path: Path) -> None:
    script = (
        "import sys\nimport spade_edge.galleries.assessment as assessment\n"
        "def stop(*a, **k): raise KeyboardInterrupt\nassessment.leave_one_out = stop\n"
        "from spade_edge.tools.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "build", f"--model={model}", f"--images={good_images}", f"--output={tmp_path}/b"],  # noqa: E501
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 130 and "interrupted" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", ["build --help", "score --bundle {bundle} {frames}"])
def test_a_terminal_that_knows_only_ascii_and_a_closed_stderr(edge: Built, frames: Path, arguments: str) -> None:
    line = arguments.format(bundle=edge.path, frames=f"'{frames}'")
    for environment, end in (
        ({"PYTHONIOENCODING": "ascii"}, ""),
        ({"LC_ALL": "C", "PYTHONUTF8": "0"}, ""),
        ({}, "2>&-"),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m spade_edge.tools.cli.main {line} {end}"],
            capture_output=True, text=True, check=False, env=os.environ | environment,
        )  # fmt: skip
        assert done.returncode in (0, 1) and "Traceback" not in done.stderr
        if "score" in arguments:
            assert len([json.loads(text) for text in done.stdout.splitlines()]) == 4


def test_every_command_and_option_has_help(capsys: Capture) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for name, module in COMMANDS.items():
        assert name in out and module.__doc__ is not None
        code, text, _ = run(capsys, name, "--help")
        assert code == 0 and module.__doc__.splitlines()[0] in text
    pytest.importorskip("torch")
    from spade_edge.export import BACKBONES

    assert all(backbone in run(capsys, "export", "--help")[1] for backbone in BACKBONES)


def test_starting_the_command_line_loads_nothing_heavy() -> None:
    script = (
        "import sys; import spade_edge.tools.cli.main\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'cv2', 'hnswlib', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_example_people_copy_runs(edge: Built, part: Frames, tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 96))
    writer.write(part(30, flaw=True))
    writer.release()
    example = Path(__file__).resolve().parents[3] / "examples" / "camera_loop.py"
    assert len(example.read_text().splitlines()) < 40
    done = subprocess.run(
        [sys.executable, str(example), str(edge.path), str(path)],
        capture_output=True, text=True, check=False, env=os.environ | {"OPENCV_LOG_LEVEL": "ERROR"},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith("defect")
    assert "pixels at" in done.stdout
    for arguments, code in (([str(tmp_path), str(path)], 3), ([str(edge.path), str(tmp_path / "no.avi")], 4)):
        done = subprocess.run([sys.executable, str(example), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == code and "Traceback" not in done.stderr
