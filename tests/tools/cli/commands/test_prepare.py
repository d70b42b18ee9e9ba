"""`spade-edge prepare`, and --provider in the commands that score; on a GPU that is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from altered import altered
from command_line import run
from fake_gpu import CPU, CUDA, NO_KERNEL, TENSORRT, Machine

from spade_edge.galleries import Built
from spade_edge.runtime import UsageError
from spade_edge.runtime.network.engine_cache import PREPARED
from spade_edge.runtime.network.provider import Provider
from spade_edge.tools.cli.progress import ElapsedTime
from spade_edge.tools.preparation import engine_build
from spade_edge.tools.preparation.engine_build import build_engine, engine_cache
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


def test_tensorrt_11_is_asked_for_no_flags_and_what_it_cannot_do_is_refused(
    capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(tensorrt=110401).install(monkeypatch, tmp_path).in_children(monkeypatch)
    half = altered(edge.path, tmp_path / "half", "model", precision="fp16")
    for choice in ({"fp16": True}, {"int8": True}):
        with pytest.raises(UsageError, match="TensorRT 11.4.1"):
            prepare_bundle(edge.path, provider=Provider("tensorrt", **choice))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="fp16=False"):
        engine_cache(half, Provider("tensorrt", fp16=False))
    assert folders(tmp_path) == [] and machine.asked == []
    engines = engine_cache(half, Provider("tensorrt"))
    assert (engines.key["fp16"], engines.key["int8"]) == (False, False) and "-tensorrt11-" in engines.folder.name
    code, _, err = prepare(capsys, edge.path)
    assert code == 0 and err.startswith("TensorRT 11.4.1 builds an engine") and "precision: as the model has it" in err
    assert not {"trt_fp16_enable", "trt_int8_enable"} & machine.asked[-1][0][1].keys()


def test_every_number_of_views_is_tried(
    machine: Machine, capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spade_edge.runtime.network.session import Session

    sizes: list[int] = []
    plain, resident = Session.__call__, Session.resident

    def counted(session: Session, views: Any) -> Any:
        sizes.append(len(views))
        return plain(session, views)

    def counted_there(session: Session, views: Any) -> Any:
        sizes.append(len(views) if isinstance(views, np.ndarray) else views.shape()[0])
        return resident(session, views)

    monkeypatch.setattr(Session, "__call__", counted)
    monkeypatch.setattr(Session, "resident", counted_there)
    assert prepare(capsys, edge.path, "--provider", "cuda")[0] == 0
    # When it opens, when the gallery is brought there, two frames, one to four views, and two golden frames.
    assert sizes == [1, 1, 1, 1, 1, 2, 3, 4, 1, 1]
    sizes.clear()
    assert prepare(capsys, edge.path, "--provider", "cuda", "--cuda-graph")[0] == 0
    assert set(sizes) == {1}


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


OUT_OF_MEMORY = (
    "\x1b[1;31m2026-11-28 09:00:00.123456789 [E:onnxruntime:Default, tensorrt_execution_provider.h:90 log] "
    "[2026-11-28 09:00:00   ERROR] [defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)"
    "\x1b[m\n"
    "\x1b[1;31m2026-11-28 09:00:01.123456789 [E:onnxruntime:Default, tensorrt_execution_provider.h:90 log] "
    "[2026-11-28 09:00:01   ERROR] Engine could not be created from network\x1b[m\n"
)


def afterwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine on which nothing goes wrong, with the engine cache of the former one."""
    (tmp_path / "again").mkdir()
    machine = Machine().install(monkeypatch, tmp_path / "again").in_children(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return machine


@pytest.mark.parametrize("dies", ["half", "marking"])
def test_a_process_that_is_killed_leaves_nothing_behind(
    dies: str, capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    with monkeypatch.context() as patch:
        Machine(dies=dies).install(patch, tmp_path).in_children(patch)
        code, _, err = prepare(capsys, edge.path)
        assert code == 4 and "SIGKILL" in err.splitlines()[-1] and "memory" in err.splitlines()[-1]
        assert len(err.splitlines()) == 2
        (folder,) = folders(tmp_path)
        assert list(folder.iterdir()) == [] and not engine_cache(edge.path, Provider("tensorrt")).prepared()
    assert list((tmp_path / "scratch").iterdir()) == []
    machine = afterwards(monkeypatch, tmp_path)
    code, value, _ = prepare(capsys, edge.path)
    assert code == 0 and value["engines"] == str(folder) and machine.built == []
    assert engine_cache(edge.path, Provider("tensorrt")).prepared()


@pytest.mark.parametrize("dies", ["first", "half", "whole", "marking"])
def test_what_is_left_where_nobody_was_there_to_sweep_is_never_used(
    dies: str, edge: Built, frames: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Scoring builds an engine in its own process if none is prepared."""
    with monkeypatch.context() as patch:
        Machine(dies=dies).install(patch, tmp_path).in_children(patch)
        line = ["score", "--bundle", str(edge.path), "--provider", "tensorrt", str(frames)]
        ended = subprocess.run(
            [sys.executable, "-m", "spade_edge.tools.cli.main", *line], capture_output=True, check=False
        )
        assert ended.returncode == -signal.SIGKILL
        engines = engine_cache(edge.path, Provider("tensorrt"))
        left = {path.suffix for path in engines.folder.iterdir()}
        assert (".engine" in left) == (dies != "first") and not engines.prepared()
    afterwards(monkeypatch, tmp_path)
    build_engine(edge.path, Provider("tensorrt"), engines=engines)
    (engine,) = engines.folder.glob("*.engine")
    assert engines.prepared() and engine.read_bytes() == engine.stem.encode()
    assert not list(engines.folder.glob(".*"))


def test_an_engine_that_is_whole_and_marked_counts_even_if_the_process_dies_then(
    capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        Machine(dies="marked").install(patch, tmp_path).in_children(patch)
        assert prepare(capsys, edge.path)[0] == 4
        assert engine_cache(edge.path, Provider("tensorrt")).prepared()
    afterwards(monkeypatch, tmp_path)
    code, value, _ = prepare(capsys, edge.path)
    assert code == 0 and value["built_seconds"] is None


def test_what_the_kernel_ended_for_memory_is_told_from_what_somebody_killed(
    capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Machine(dies="half").install(monkeypatch, tmp_path).in_children(monkeypatch)
    counts = tmp_path / "vmstat"
    counts.write_text("nr_free_pages 5\noom_kill 3\nthp_split 0\n")
    monkeypatch.setattr(engine_build, "KILLS", counts)
    assert prepare(capsys, edge.path)[2].count("the kernel ended") == 0
    read = engine_build._kills
    assert read() == 3
    later = iter((3, 4))
    monkeypatch.setattr(engine_build, "_kills", lambda: next(later))
    code, _, err = prepare(capsys, edge.path)
    assert code == 4 and "expected enough memory to build an engine, found that the kernel ended" in err
    for text in ("", "oom_kill x\n", "oom_kill 99999999999999999999\n"):
        counts.write_text(text)
        assert read() == 0
    counts.unlink()
    assert read() == 0


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (
            Machine(prints=OUT_OF_MEMORY, raises={TENSORRT: "TensorRT EP failed to create engine from network."}),
            "expected enough memory to build an engine, TensorRT says: [defaultAllocator.cpp::allocate::31] Error "
            "Code 1: Cuda Runtime (out of memory); end other programs",
        ),
        (Machine(raises={TENSORRT: "std::bad_alloc"}), "expected enough memory to build an engine, found too little; "),
        (Machine(dies="segfault"), "found that its process crashed (SIGSEGV)"),
        (Machine(prints="a hint\n", dies="segfault"), "crashed (SIGSEGV): a hint; see 'spade-edge doctor'"),
        (Machine(writes=False), "expected TensorRT to write its engine there, found none; is the disk full?"),
    ],
)
def test_a_build_that_fails_says_why_and_leaves_nothing(
    machine: Machine, says: str, capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine.install(monkeypatch, tmp_path).in_children(monkeypatch)
    code, _, err = prepare(capsys, edge.path)
    assert code == 4 and says in err.splitlines()[-1] and len(err.splitlines()) == 2
    assert [path for folder in folders(tmp_path) for path in folder.iterdir()] == []


def test_a_time_limit_ends_a_build_that_does_not_end(
    capsys: Capture, edge: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Machine(dies="never").install(monkeypatch, tmp_path).in_children(monkeypatch)
    start = time.monotonic()
    code, value, err = prepare(capsys, edge.path, "--time-limit", "0.05")
    assert code == 4 and value == {} and time.monotonic() - start < 60
    assert "within 0.05 minutes, found it unfinished" in err.splitlines()[-1] and "--time-limit" in err
    assert [path for folder in folders(tmp_path) for path in folder.iterdir()] == []


def test_a_time_limit_that_is_kept_changes_nothing(machine: Machine, capsys: Capture, edge: Built) -> None:
    code, value, _ = prepare(capsys, edge.path, "--time-limit", "30")
    assert code == 0 and value["built_seconds"] > 0
    assert engine_cache(edge.path, Provider("tensorrt")).prepared()


def test_the_engines_of_another_process_that_builds_now_are_not_swept(machine: Machine, edge: Built) -> None:
    engines = engine_cache(edge.path, Provider("tensorrt"))
    engines.sweep()  # nothing was ever built
    assert not engines.folder.exists()
    with engines.building():
        (engines.folder / "x.engine").write_bytes(b"in the works")
        engines.sweep()
        assert (engines.folder / "x.engine").exists()
    engines.sweep()
    assert engines.prepared()


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
    assert said == f"the network and matching run on {CUDA} {share:.1%}, {CPU} {1 - share:.1%} of the nodes"
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
    assert err.splitlines()[0] == f"the network runs on {TENSORRT}, all nodes, and matching on {CUDA}"


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
    assert code == 0 and f"the network and matching run on {CUDA}, all nodes" in err.splitlines()
    header = json.loads(out)["header"]
    assert header["provider"] == CUDA and header["providers"] == {CUDA: 1.0}
    code, out, err = run(capsys, "bench", "--bundle", edge.path, "--count", 2, "--json", "--provider", "cuda")
    assert code == 0 and json.loads(out)["machine"]["provider"] == CUDA
    assert err.splitlines() == [f"the network and matching run on {CUDA}, all nodes"]


def test_where_cells_are_matched_can_be_chosen(
    machine: Machine, capsys: Capture, edge: Built, paper: Built, frames: Path
) -> None:
    line = ["score", "--bundle", edge.path, frames, "--provider", "cuda", "--match"]
    _, there, err = run(capsys, *line, "device")
    assert err.splitlines()[0] == f"the network and matching run on {CUDA}, all nodes"
    _, here, err = run(capsys, *line, "cpu")
    assert err.splitlines()[0] == f"the network runs on {CUDA}, all nodes"
    assert json.loads(there)["score"] == json.loads(here)["score"]
    # What cannot be matched there is matched on the CPU, unless it has to be there.
    line = ["score", "--bundle", paper.path, frames, "--provider", "cuda", "--match"]
    code, _, err = run(capsys, *line, "auto")
    first = err.splitlines()[0]
    assert code == 0 and first.startswith(f"the network runs on {CUDA}, all nodes; cells are matched on the CPU: ")
    assert "exact search" in first
    code, out, err = run(capsys, *line, "device")
    assert (code, out) == (2, "") and "exact search" in err and "--match cpu" in err and err.count("\n") == 1
    for command in (
        ["score", "--bundle", edge.path, frames],
        ["parity", "--bundle", edge.path],
        ["bench", "--bundle", edge.path, "--count", 1],
    ):
        code, _, err = run(capsys, *command, "--match", "device")
        assert code == 0 and err.splitlines()[0] == f"the network and matching run on {CPU}"


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--provider", "cuda", "--time-limit", "5"), "expected --time-limit with --provider tensorrt"),
        (("--provider", "cpu", "--time-limit", "5"), "expected --time-limit with --provider tensorrt"),
        *((("--time-limit", text), "--time-limit: expected") for text in ("0", "-1", "nan", "inf", "", "1e9", "x")),
    ],
)
def test_time_limits_that_make_no_sense_are_refused(
    arguments: tuple[str, ...], says: str, capsys: Capture, edge: Built
) -> None:
    code, out, err = run(capsys, "prepare", "--bundle", edge.path, *arguments)
    assert code == 2 and out == "" and says in err


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
