"""`spade-edge prepare`, and --provider in the commands that score; on a GPU that is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from command_line import run
from fake_gpu import CPU, CUDA, NO_KERNEL, TENSORRT, Machine

from spade_edge.galleries import Built
from spade_edge.runtime.network.engine_cache import PREPARED
from spade_edge.runtime.network.provider import Provider
from spade_edge.tools.cli.progress import ElapsedTime
from spade_edge.tools.preparation.engine_build import engine_cache
from spade_edge.tools.preparation.preparation import prepare as prepare_bundle

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine().install(monkeypatch, tmp_path).in_children(monkeypatch)


def prepare(capsys: Capture, bundle: Path, *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, what --json prints, and stderr."""
    code, out, err = run(capsys, "prepare", "--bundle", bundle, "--json", *arguments)
    return code, json.loads(out) if out else {}, err


def folders(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache" / "spade-edge" / "engines").glob("*-*") if path.is_dir())


def test_an_engine_is_built_in_a_process_of_its_own_and_used_from_then_on(
    machine: Machine, capsys: Capture, edge: Built, tmp_path: Path
) -> None:
    code, value, err = prepare(capsys, edge.path)
    assert code == 0 and machine.built == []  # not in this process
    (folder,) = folders(tmp_path)
    assert value["engines"] == str(folder) and (folder / PREPARED).exists()
    assert value["built_seconds"] > 0 and value["provider"] == TENSORRT and value["providers"] == {TENSORRT: 1.0}
    assert value["first_frame_ms"] > 0 and value["second_frame_ms"] > 0 and value["others"] == []
    assert value["golden"] == 0
    assert err.splitlines() == [
        "TensorRT 10.3.0 builds an engine for Orin (compute capability 8.7), 1 to 4 views at once, "
        "precision: as the model has it; 10 to 30 minutes on a small Jetson, less on a large GPU"
    ]
    code, out, err = run(capsys, "prepare", "--bundle", edge.path)
    assert (code, err) == (0, "") and machine.built == []
    lines = out.splitlines()
    assert lines[:2] == [f"the network runs on {TENSORRT}, all nodes", f"{folder}: engine was there already"]
    assert lines[2].startswith("opened in ") and len(lines) == 3
    code, out, err = run(capsys, "score", "--bundle", edge.path, "--provider", "auto", tmp_path / "frame.npy")
    assert code == 3 and "found nothing" in err


def test_every_number_of_views_is_tried(
    machine: Machine, capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spade_edge.runtime.network.session import Session

    sizes: list[int] = []
    plain = Session.__call__

    def counted(session: Session, views: Any) -> Any:
        sizes.append(len(views))
        return plain(session, views)

    monkeypatch.setattr(Session, "__call__", counted)
    assert prepare(capsys, edge.path, "--provider", "cuda")[0] == 0
    # When it opens, two frames, one to four views, and two golden frames.
    assert sizes == [1, 1, 1, 1, 2, 3, 4, 1, 1]


def test_cuda_is_loaded_and_run(machine: Machine, capsys: Capture, edge: Built, tmp_path: Path) -> None:
    code, value, err = prepare(capsys, edge.path, "--provider", "cuda", "--device", 1, "--gpu-memory", 500)
    assert (code, err) == (0, "") and value["provider"] == CUDA and value["engines"] is None
    options = machine.asked[0][0][1]
    assert options["device_id"] == "1" and options["gpu_mem_limit"] == "500000000"
    assert folders(tmp_path) == []


def test_the_cpu_needs_nothing(capsys: Capture, edge: Built) -> None:
    code, out, err = run(capsys, "prepare", "--bundle", edge.path, "--provider", "cpu")
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["the CPU needs no preparation", f"the network runs on {CPU}"]


def test_without_a_gpu_that_is_said(capsys: Capture, edge: Built, tmp_path: Path) -> None:
    if {CUDA, TENSORRT} & set(onnxruntime.get_available_providers()):
        pytest.skip("this onnxruntime knows GPUs")
    for provider in ("tensorrt", "cuda"):
        code, value, err = prepare(capsys, edge.path, "--provider", provider)
        assert code == 4 and value == {} and err.count("\n") == 1
        assert "expected one of the providers of this machine's onnxruntime" in err
    code, _, err = prepare(capsys, tmp_path)
    assert code == 3 and "expected a bundle" in err


def test_what_fails_in_the_other_process_is_told_here(
    capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Machine(raises={TENSORRT: "[x] could not build engine"}).install(monkeypatch, tmp_path).in_children(monkeypatch)
    code, value, err = prepare(capsys, edge.path)
    assert code == 4 and value == {}
    assert err.splitlines()[1].startswith(
        f"spade-edge: expected {TENSORRT}, found that it is not available here: could not"
    )
    assert len(err.splitlines()) == 2


def test_a_process_that_dies_leaves_nothing_that_counts(
    capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        Machine(dies=True).install(patch, tmp_path).in_children(patch)
        code, _, err = prepare(capsys, edge.path)
        assert code == 4 and "found that its process ended with -9; is memory short?" in err.splitlines()[-1]
        (folder,) = folders(tmp_path)
        assert list(folder.glob("*.engine")) and not engine_cache(edge.path, Provider("tensorrt")).prepared()
    (tmp_path / "again").mkdir()
    machine = Machine().install(monkeypatch, tmp_path / "again").in_children(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, value, _ = prepare(capsys, edge.path)
    assert code == 0 and value["engines"] == str(folder) and machine.built == []
    assert engine_cache(edge.path, Provider("tensorrt")).prepared()


def test_ctrl_c_ends_the_other_process_at_once(edge: Built, machine: Machine, tmp_path: Path) -> None:
    """TensorRT is deaf while it builds: here the process waits for a lock, likewise in C."""
    engines = engine_cache(edge.path, Provider("tensorrt"))
    with engines.building():
        (engines.folder / "x.engine").write_bytes(b"in the works")
        line = [sys.executable, "-m", "spade_edge.tools.cli.main", "prepare", "--bundle", str(edge.path)]
        started = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert started.stderr is not None and "builds an engine" in started.stderr.readline()
        time.sleep(0.5)
        assert started.poll() is None
        os.kill(started.pid, signal.SIGINT)
        assert started.wait(20) == 130
        assert started.stderr.read() == "spade-edge: interrupted\n"
        started.stderr.close()
        with pytest.raises(ProcessLookupError):  # none of its group is left
            for _ in range(100):
                os.killpg(started.pid, 0)
                time.sleep(0.05)


def test_a_caller_is_told_how_long_an_engine_has_taken(edge: Built, machine: Machine) -> None:
    engines = engine_cache(edge.path, Provider("tensorrt"))
    locked, go = threading.Event(), threading.Event()

    def occupy() -> None:
        with engines.building():
            locked.set()
            go.wait(20)
            (engines.folder / "x.engine").write_bytes(b"an engine of another process")

    other = threading.Thread(target=occupy)
    other.start()
    assert locked.wait(20)
    passed: list[float] = []
    announced: list[str] = []

    def waiting(seconds: float) -> None:
        passed.append(seconds)
        go.set()

    prepared = prepare_bundle(edge.path, announce=lambda found: announced.append(found.key["gpu"]), waiting=waiting)
    other.join(20)
    assert announced == ["Orin"] and passed and passed == sorted(passed) and passed[0] >= 1
    assert prepared.engines == engines.folder and prepared.built_seconds is not None


def test_signs_of_life_are_few_lines_in_a_log_and_one_line_on_a_terminal(capsys: Capture) -> None:
    log, terminal = ElapsedTime(terminal=False, every=30), ElapsedTime(terminal=True)
    for seconds in range(1, 95):
        log(seconds)
    log.end()
    assert capsys.readouterr().err.splitlines() == [f"building, {text} so far" for text in ("0:30", "1:00", "1:30")]
    terminal(1.0)
    terminal(61.5)
    terminal.end()
    assert capsys.readouterr().err == "\rbuilding, 0:01 so far\rbuilding, 1:01 so far\n"


def test_older_engines_are_named_and_removed_when_that_is_asked_for(
    machine: Machine, capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert prepare(capsys, edge.path)[0] == 0
    (old,) = folders(tmp_path)
    Machine(tensorrt=100900).install(monkeypatch, tmp_path)
    monkeypatch.setenv("FAKE_GPU", json.dumps(json.loads(os.environ["FAKE_GPU"]) | {"tensorrt": 100900}))
    code, out, _ = run(capsys, "prepare", "--bundle", edge.path)
    assert code == 0 and f"{old}: for another GPU, version or option, see --clean\n" in out
    assert len(folders(tmp_path)) == 2
    code, out, _ = run(capsys, "prepare", "--bundle", edge.path, "--clean")
    assert code == 0 and f"{old}: for another GPU, version or option, removed\n" in out
    (left,) = folders(tmp_path)
    assert left != old and f"{left}: engine was there already" in out


@pytest.fixture
def frames(tmp_path: Path, good_images: Path) -> Path:
    (tmp_path / "frames").mkdir()
    np.save(tmp_path / "frames" / "a.npy", np.load(good_images / "0.npy"))
    return tmp_path / "frames"


def test_score_says_which_provider_ran_which_share(
    machine: Machine, capsys: Capture, edge: Built, frames: Path
) -> None:
    machine.left = ("Gather",)
    code, out, err = run(capsys, "score", "--bundle", edge.path, "--provider", "cuda", frames)
    line = json.loads(out)
    assert code == 0 and line["provider"] == CUDA and list(line["providers"]) == [CUDA, CPU]
    share = line["providers"][CUDA]
    assert 0.9 < share < 1 and share == round(share, 4)
    said, summary = err.splitlines()
    assert said == f"the network runs on {CUDA} {share:.1%}, {CPU} {1 - share:.1%} of the nodes"
    assert f"; on {CUDA} {share:.1%}, {CPU} {1 - share:.1%} of the nodes; threshold " in summary
    code, out, err = run(capsys, "score", "--bundle", edge.path, frames)
    assert code == 0 and json.loads(out)["providers"] == {CPU: 1.0} and f"; on {CPU}; threshold " in err
    assert "this onnxruntime also offers --provider cuda and tensorrt" in err


def test_score_with_tensorrt_warns_of_the_wait_unless_prepared(
    machine: Machine, capsys: Capture, edge: Built, frames: Path
) -> None:
    line = ["score", "--bundle", edge.path, "--provider", "tensorrt", frames]
    code, _, err = run(capsys, *line)
    assert code == 0 and len(machine.built) == 1
    assert err.splitlines()[0] == (
        "no engine is prepared for Orin: TensorRT builds one before the first frame, 10 to 30 minutes on a small "
        f"Jetson, and ignores Ctrl-C meanwhile; better run 'spade-edge prepare --bundle {edge.path}' beforehand"
    )
    code, _, err = run(capsys, *line)
    assert code == 0 and len(machine.built) == 1
    assert err.splitlines()[0] == f"the network runs on {TENSORRT}, all nodes"


def test_a_fallback_has_to_be_allowed_and_is_one_line(
    machine: Machine, capsys: Capture, edge: Built, frames: Path
) -> None:
    machine.fails = {CUDA: NO_KERNEL, TENSORRT: NO_KERNEL}
    line = ["score", "--bundle", edge.path, frames, "--provider"]
    for provider in ("cuda", "tensorrt"):
        code, out, err = run(capsys, *line, provider)
        complaint = err.splitlines()[-1]
        assert code == 4 and out == "" and complaint.startswith("spade-edge: ") and NO_KERNEL in complaint
    code, out, err = run(capsys, *line, "cuda", "--allow-fallback")
    first, _ = err.splitlines()
    assert code == 0 and json.loads(out)["provider"] == CPU
    assert first.startswith(f"falling back: the network runs on {CPU}; cuda: ") and NO_KERNEL in first
    code, out, err = run(capsys, *line, "auto")
    first, _ = err.splitlines()
    assert code == 0 and json.loads(out)["provider"] == CPU
    assert first.startswith(f"auto: the network runs on {CPU}; tensorrt: expected an engine built on this machine")
    assert "; cuda: " in first and NO_KERNEL in first


def test_evaluate_and_bench_take_a_provider_too(
    machine: Machine, capsys: Capture, edge: Built, frames: Path, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    frames.rename(tmp_path / "set" / "good")
    line = ["evaluate", "--bundle", edge.path, "--dataset", tmp_path / "set", "--json", "--provider", "cuda"]
    code, out, err = run(capsys, *line)
    assert code == 0 and f"the network runs on {CUDA}, all nodes" in err.splitlines()
    header = json.loads(out)["header"]
    assert header["provider"] == CUDA and header["providers"] == {CUDA: 1.0}
    code, out, err = run(capsys, "bench", "--bundle", edge.path, "--count", 2, "--json", "--provider", "cuda")
    assert code == 0 and json.loads(out)["machine"]["provider"] == CUDA
    assert err.splitlines() == [f"the network runs on {CUDA}, all nodes"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--device", 1), "expected --device with a --provider on a GPU, found cpu"),
        (("--gpu-memory", 100), "expected --gpu-memory with a --provider on a GPU"),
        (("--cuda-graph",), "expected --cuda-graph with a --provider on a GPU"),
        (("--device", -1), "--device"),
        (("--provider", "gpu"), "--provider"),
        (("--provider", "cuda", "--gpu-memory", 0), "--gpu-memory"),
        (("--provider", "cuda", "--device", 99999), "expected a GPU number"),
    ],
)
@pytest.mark.parametrize("command", ["score", "evaluate", "bench", "scaling", "prepare"])
def test_options_that_do_not_fit_are_refused(
    command: str, arguments: tuple[object, ...], says: str, capsys: Capture, edge: Built, tmp_path: Path
) -> None:
    needed = {
        "score": ["--bundle", edge.path, edge.path],
        "evaluate": ["--bundle", edge.path, "--dataset", tmp_path],
        "bench": ["--bundle", edge.path],
        "scaling": ["--model", edge.path, "--images", tmp_path, "--output", tmp_path / "out"],
        "prepare": ["--bundle", edge.path],
    }[command]
    (tmp_path / "good").mkdir()
    np.save(tmp_path / "good" / "a.npy", np.zeros((8, 8), np.uint8))
    if command == "score":
        needed[-1] = tmp_path / "good"
    if command == "prepare" and "--provider" not in arguments:
        arguments = (*arguments, "--provider", "cpu")
    code, out, err = run(capsys, command, *needed, *arguments)
    assert code == 2 and out == "" and says in err.splitlines()[-1]


def test_a_command_line_can_be_provider_options_again() -> None:
    import argparse

    from spade_edge.tools.cli.arguments import add_provider, provider_options

    parser = argparse.ArgumentParser()
    add_provider(parser)
    for line in (
        ["--provider", "cpu"],
        ["--provider", "auto", "--device", "0", "--gpu-memory", "5", "--cuda-graph", "--allow-fallback"],
    ):
        assert provider_options(parser.parse_args(line)) == line
