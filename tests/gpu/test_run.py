"""What measures a GPU, on the CPU: all steps for real, but small; and steps that hang, crash or find a fault.

Figures of time are looked at no further than that they are there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import measure
import numpy as np
import pytest
import run
from fake_gpu import Machine
from gpu_state import state_of
from grown_gallery import GrownGallery
from numpy.typing import NDArray
from processes import CRASHED, DONE, FAILED, LEFT_OUT, SECONDS, TIMED_OUT, Ended, Step, run_all, run_step, write_report
from table import markdown

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.tools.cli.main import parser

CELLS = 16  # of a view of 64x64
RED = (
    "\x1b[1;31m2026-11-28 09:12:55.503342657 [E:onnxruntime:Default, conv.cc:1 f] CUDNN_FE failure 11: "
    "No execution plans support the graph.\x1b[m"
)


def python(name: str, code: str, **others: Any) -> Step:
    return Step(name, (sys.executable, "-c", code), **{"limit": 20.0, **others})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, edge: Built, good_images: Path) -> Iterator[Path]:
    """All steps on the CPU, with a bundle that is matched at any place."""
    output = tmp_path_factory.mktemp("gpu") / "report"
    before = signal.getsignal(signal.SIGTERM)
    try:
        code = run.main(f"--provider cpu --quick --bundle {edge.path} --frames {good_images} --output {output}".split())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 0, (output / "report.md").read_text()
    yield output


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What each step has found."""
    report = json.loads((folder / "report.json").read_text())
    return {step["name"]: step["results"] for step in report["steps"]}


def test_every_step_is_done_and_in_the_report(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    planned = run.steps(Path("b"), Path("f"), provider="cpu", scale=run.QUICK)
    assert [(step["name"], step["state"]) for step in report["steps"]] == [(step.name, DONE) for step in planned]
    assert report["broken"] == [] and all(step["results"] for step in report["steps"])


def test_golden_frames_are_reproduced_wherever_cells_are_matched(results: dict[str, list[dict[str, Any]]]) -> None:
    for match in ("cpu", "device"):
        ((stage,),) = (value["stages"] for value in results[f"parity match {match}"])
        assert stage["flips"] == 0 and set(stage["worst"].values()) == {0.0}


def test_frames_are_timed_wherever_cells_are_matched(results: dict[str, list[dict[str, Any]]]) -> None:
    for match in ("cpu", "device"):
        (value,) = results[f"bench cpu match {match}"]
        measured = value["bench"]["measured"]
        assert value["bench"]["machine"]["matched_on"] == match and measured["frames"] == value["wanted"] == 10
        assert {"view", "network", "matching", "map"} <= set(measured["stages"]) and measured["ratio"] > 0


def test_verdicts_and_maps_are_the_cpus(results: dict[str, list[dict[str, Any]]]) -> None:
    (value,) = results["verdicts match device"]
    assert (value["matched_on"], value["frames"], value["flips"]) == ("device", 6, 0)
    assert value["score"] == value["map"] == {"worst": 0.0, "mean": 0.0}


def test_the_graph_finds_what_the_cpu_finds(results: dict[str, list[dict[str, Any]]]) -> None:
    ways = results["graphs"]
    assert [way["way"] for way in ways] == [
        "on the CPU",
        "as frames are matched",
        "as a captured graph",
        "with TF32 for the network",
    ]
    assert all(way["cells"] == 2 * CELLS and way["cells_with_other_candidates"] == 0 for way in ways)
    assert all(way["distance"] == 0 for way in ways) and all(
        way["same bits as the graph on the CPU"] for way in ways[1:]
    )


def test_matching_is_measured_at_every_size_of_the_gallery(
    results: dict[str, list[dict[str, Any]]], edge: Built
) -> None:
    rows: dict[tuple[int, bool], dict[str, Any]] = {}
    for value in results["galleries"]:
        rows.setdefault((value["images"], value["place"]), {}).update(value)
    assert set(rows) == {(images, place) for images in (4, 8) for place in (True, False)}
    gallery = Bundle.open(edge.path).gallery
    assert isinstance(gallery, CodedGallery)
    codes = sum(level.shape[1] * level.shape[2] for level in gallery.levels) + 4 * gallery.squares.shape[1] * CELLS
    for (images, _), row in rows.items():
        assert row["device"]["count"] == row["captured"]["count"] == row["cpu"]["count"] == 3
        assert row["cells"] == CELLS and row["cells_with_other_candidates"] == 0 and row["distance"] == 0
        assert row["resident_megabytes"] * 1e6 > images * codes  # and the keys


def test_views_made_on_the_device_are_the_cpus(results: dict[str, list[dict[str, Any]]]) -> None:
    rows = results["preprocessing"]
    assert [row["size"] for row in rows] == ["448x448", "1920x1080", "4096x256"]
    assert all(row["grey_levels"] <= 1e-3 and row["device"]["count"] == 3 for row in rows)


def test_frames_a_second_are_counted(results: dict[str, list[dict[str, Any]]]) -> None:
    for match in ("cpu", "device"):
        (value,) = results[f"stream match {match}"]
        assert value["matched_on"] == match and min(value["frames_a_second"].values()) > 0


def test_nothing_is_printed_and_what_cannot_work_is_refused(results: dict[str, list[dict[str, Any]]]) -> None:
    assert results["printed"][0]["lines"] == 0
    for step in ("refusals memory", "refusals tensorrt"):
        (refusal,) = results[step]
        assert (refusal["exit_code"], refusal["lines"]) == (4, 1) and set(refusal["must"].values()) == {True}


def test_the_page_has_a_table_for_everything(folder: Path) -> None:
    page = (folder / "report.md").read_text()
    assert page.count("### ") == 8 and "Not measured" not in page
    assert "| CPU, matched on the device | 10 |" in page and "| as frames are matched | 0 of 32 | 0 | yes |" in page
    widths = {
        tuple(line.count("|") for line in table.splitlines() if line.startswith("|")) for table in page.split("###")
    }
    assert all(len(set(width)) <= 1 for width in widths)


@pytest.mark.slow
def test_the_steps_for_a_gpu_run_on_one_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edge: Built, good_images: Path
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    Machine().install(monkeypatch, tmp_path).in_children(monkeypatch)
    output = tmp_path / "report"
    run.main(f"--quick --bundle {edge.path} --frames {good_images} --output {output}".split())
    report = json.loads((output / "report.json").read_text())
    states = {step["name"]: step["state"] for step in report["steps"]}
    planned = run.steps(Path("b"), Path("f"), provider="cuda", scale=run.QUICK)
    assert list(states) == [step.name for step in planned]
    assert {name for name, state in states.items() if state != DONE} == {"refusals tensorrt"}  # it works there
    results = {step["name"]: step["results"] for step in report["steps"]}
    assert results["graphs"][-1]["way"] == measure.FORCED and "must" not in results["graphs"][-1]
    assert {
        value["bench"]["machine"]["provider"]
        for name in states
        if name.startswith("bench cuda")
        for value in results[name]
    } == {"CUDAExecutionProvider"}
    assert report["broken"] == []


def test_a_bundle_and_frames_are_made_where_there_are_none(tmp_path: Path) -> None:
    command = [sys.executable, run.MEASURE, "material", "--seconds", "60"]
    command += ["--bundle", str(tmp_path / "part.spade"), "--frames", str(tmp_path / "frames")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    value = json.loads(ended.stdout)
    assert value["images"] == 12 and value["frames"] == measure.MADE_FRAMES == len(
        list((tmp_path / "frames").iterdir())
    )
    assert len(Bundle.open(tmp_path / "part.spade").gallery) == 12


def test_a_step_that_hangs_is_killed_with_all_that_it_started_and_keeps_what_it_found(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('{\"child\": %d}' % child.pid, flush=True)\n"
        "print('{\"cut', end='', flush=True)\n"
        "time.sleep(600)"
    )
    ended = run_step(python("hangs", code), tmp_path, limit=3.0)
    assert ended.state == TIMED_OUT and 3.0 <= ended.seconds < 15
    (found,) = ended.results
    assert gone(found["child"])


def gone(process: int) -> bool:
    """Whether a process has ended, or does so soon; one that nobody has waited for yet is a zombie."""
    for _ in range(100):
        try:
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_step_that_crashes_or_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    steps = [
        python("crashes", "import os; print('{\"found\": 1}', flush=True); os.kill(os.getpid(), 11)"),
        python("fails", "import sys; print('{\"found\": 2}'); print('the reason', file=sys.stderr); sys.exit(4)"),
        Step("is not there", (str(tmp_path / "nothing"),), 20.0),
        python("may end with 4", "import sys; sys.exit(4)", codes=(0, 4)),
        python("goes on", "print('a line'); print('{\"found\": 3}'); print('[1]')"),
    ]
    reports = []
    ended = run_all(steps, tmp_path, budget=60, after_each=lambda ended: reports.append(len(ended)))
    assert [step.state for step in ended] == [CRASHED, FAILED, FAILED, DONE, DONE]
    assert ended[0].because == "ended by SIGSEGV" and "the reason" in ended[1].because and ended[2].because
    assert [step.results for step in ended] == [[{"found": 1}], [{"found": 2}], [], [], [{"found": 3}]]
    assert reports == [1, 2, 3, 4, 5]


def test_the_budget_is_kept(tmp_path: Path) -> None:
    steps = [python("first", "pass"), python("long", "import time; time.sleep(60)"), python("late", "pass")]
    began = time.monotonic()
    ended = run_all(steps, tmp_path, budget=4, after_each=lambda _: None)
    assert time.monotonic() - began < 15
    assert [step.state for step in ended] == [DONE, TIMED_OUT, LEFT_OUT] and ended[2].because


def test_a_step_knows_how_long_it_may_take(tmp_path: Path) -> None:
    code = "import sys; print('{\"seconds\": %s}' % sys.argv[1])"
    step = Step("knows", (sys.executable, "-c", code, SECONDS), limit=100.0)
    assert run_step(step, tmp_path, limit=10.0).results == [{"seconds": 8.0}]


def test_steps_depend_on_each_other(tmp_path: Path) -> None:
    steps = [
        python("works", "pass"),
        python("fails", "raise SystemExit(1)"),
        python("needs what works", "pass", after="works"),
        python("needs what fails", "pass", after="fails", because="it failed"),
        python("not with what works", "pass", unless="works", because="it works"),
        python("not with what fails", "pass", unless="fails"),
    ]
    ended = run_all(steps, tmp_path, budget=60, after_each=lambda _: None)
    assert [step.state for step in ended[2:]] == [DONE, LEFT_OUT, LEFT_OUT, DONE]
    assert [step.because for step in ended[3:5]] == ["it failed", "it works"]


def test_what_does_not_hold_is_named(tmp_path: Path) -> None:
    bad = Ended("graphs", DONE, results=[{"must": {"this": True, "that": False}}, {"other": 1}])
    missed = Ended("late", LEFT_OUT, because="time")
    report = write_report(tmp_path / "report.json", {"begun": "now"}, [bad, missed])
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["broken"] == ["graphs: that"] and report["begun"] == "now"
    page = markdown(report)
    assert "graphs: that" in page and "late: left out, time" in page


def test_the_exit_code_tells_of_a_step_that_did_not_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    steps = [
        python("good", "pass"),
        python("bad", "raise SystemExit(3)"),
        python(run.PREPARE, "raise SystemExit(4)"),
        python("untrue", 'print(\'{"must": {"it": false}}\')'),
    ]
    codes = []
    for step in steps:
        monkeypatch.setattr(run, "steps", lambda *_, step=step, **__: [step])
        codes.append(run.main(["--output", str(tmp_path / step.name)]))
    assert codes == [0, 1, 0, 1]


def test_a_report_is_never_written_over_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(SystemExit) as refused:
        run.main(["--output", str(tmp_path)])
    assert refused.value.code == 2


@pytest.mark.parametrize("provider", run.PROVIDERS)
def test_every_command_is_one_that_exists(provider: str) -> None:
    planned = run.steps(Path("b"), Path("f"), provider=provider, scale=run.FULL)
    names = [step.name for step in planned]
    assert len(set(names)) == len(names)
    for step in planned:
        executable, *rest = step.command
        assert executable == sys.executable
        if rest[:2] == ["-m", "spade_edge"]:
            parser().parse_args(rest[2:])
        else:
            assert rest[0] == run.MEASURE and rest[1] in measure.MEASUREMENTS and SECONDS in rest
        assert not step.after or names.index(step.after) < names.index(step.name)
        assert not step.unless or names.index(step.unless) < names.index(step.name)


def test_engines_come_last_unless_they_are_what_is_measured() -> None:
    names = {
        provider: [step.name for step in run.steps(Path("b"), Path("f"), provider=provider, scale=run.FULL)]
        for provider in run.PROVIDERS
    }
    assert names["cuda"][-4:] == names["tensorrt"][2:6] and names["cuda"][-4] == run.PREPARE
    assert run.PREPARE not in names["cpu"]
    ways = [name.removeprefix("bench ") for name in names["cuda"] if name.startswith("bench")]
    assert sorted(ways) == [
        "cpu match cpu",
        "cuda cuda-graph match cpu",
        "cuda cuda-graph match device",
        "cuda match cpu",
        "cuda match device",
        "tensorrt match cpu",
        "tensorrt match device",
    ]


@pytest.mark.parametrize(("seconds", "expected"), [(1000, 1024), (30, 178), (0, 10)])
def test_bench_takes_as_many_frames_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, seconds: float, expected: int
) -> None:
    trial = {"measured": {"frame": {"p50": 70.0}, "network": {"p50": 50.0}}}
    counts = []
    monkeypatch.setattr(measure, "_command_line", lambda line: counts.append(int(line[-1])) or trial)
    monkeypatch.setattr(measure, "perf_counter", lambda: 0.0)  # so that opening and the trial took no time
    task = measure.Task(
        bundle="b", frames="f", match="device", provider="cuda", cuda_graph=True, count=1024, until=seconds
    )
    list(measure.bench(task))
    # (70 + 50) ms, and 40 % more, and the 10 frames of the trial did not have to be waited for again
    assert counts[0] == 10 and abs(counts[1] - expected) <= 11


@pytest.mark.parametrize(
    ("stderr", "lines"), [("the network runs on CUDA\n", 0), (f"{RED}\nmine\nW! CuDNN (v91002): no\n", 2)]
)
def test_lines_of_cudnn_are_counted(
    monkeypatch: pytest.MonkeyPatch, edge: Built, good_images: Path, stderr: str, lines: int
) -> None:
    ended = SimpleNamespace(returncode=0, stderr=stderr)
    monkeypatch.setattr(measure, "_other_process", lambda *_: ended)
    (value,) = measure.printed(measure.Task(bundle=edge.path, frames=good_images, provider="cuda"))
    assert value["lines"] == lines and value["must"]["no line of onnxruntime's or cuDNN's"] == (lines == 0)


@pytest.mark.parametrize(("code", "stderr"), [(70, "an internal error"), (4, "two\nlines"), (-11, "")])
def test_refusals_of_another_kind_do_not_hold(
    monkeypatch: pytest.MonkeyPatch, edge: Built, good_images: Path, code: int, stderr: str
) -> None:
    monkeypatch.setattr(measure, "_other_process", lambda *_: SimpleNamespace(returncode=code, stderr=stderr))
    (value,) = measure.refusals(measure.Task(bundle=edge.path, frames=good_images, provider="cuda"))
    assert False in value["must"].values()


def test_candidates_and_distances_are_compared_cell_by_cell() -> None:
    def matches(candidates: list[list[int]], distances: list[list[float]]) -> Any:
        return SimpleNamespace(candidates=np.array(candidates), distances=np.array(distances, np.float32))

    want = matches([[3, 1, -1], [2, 5, 9]], [[1, 2], [4, 8]])
    same = matches([[3, 1, 0], [2, 5, 9]], [[1, 2], [4, 8]])
    other = matches([[3, 1, 0], [5, 2, 9]], [[1, 2], [4, 6]])
    assert measure._compared([want], [same])["cells_with_other_candidates"] == 0
    value = measure._compared([want, want], [same, other])
    assert (value["cells"], value["cells_with_other_candidates"], value["distance"]) == (4, 1, 0.25)
    assert not any(value["must"].values())


def test_a_grown_gallery_begins_with_the_bundles_own_images(edge: Built) -> None:
    bundle = Bundle.open(edge.path)
    base = bundle.gallery
    assert isinstance(base, CodedGallery) and bundle.entries is not None
    known = len(base)
    grown = GrownGallery(base, known + 3)
    whole = grown._first(known + 3)
    (index,) = bundle.indexes
    keys: NDArray[np.uint8] = index.keys[np.argsort(index.labels)]
    kept = bundle.entries == np.arange(len(bundle.entries))  # cells that stand for themselves
    np.testing.assert_array_equal(grown.first_keys(known)[kept], keys)
    for level, own in zip(whole.levels, base.levels, strict=True):
        np.testing.assert_array_equal(level[:known], own)
        np.testing.assert_array_equal(level[known:] >> 1, own[:3] >> 1)
        assert (level[known:] != own[:3]).any() and level.max() <= 127
    again = grown.keys.reshape(known + 3, CELLS, -1).astype(int)
    moved = np.abs(again[known:] - again[:3])
    assert moved.max() == 2 and again.max() <= 127
    assert len(whole) == known + 3 and len(whole.squares) == (known + 3) * CELLS
    np.testing.assert_array_equal(GrownGallery(base, known + 3).keys, grown.keys)


def test_what_the_driver_does_not_know_is_left_out() -> None:
    state = state_of("NVIDIA H100, 580.95, 81559, 512, 41, 68.10, 1980, [N/A]\nanother GPU\n")
    assert state == {
        "name": "NVIDIA H100",
        "driver": "580.95",
        "megabytes": 81559.0,
        "megabytes used": 512.0,
        "celsius": 41.0,
        "watts": 68.1,
        "megahertz": 1980.0,
    }
    assert state_of("") is None
