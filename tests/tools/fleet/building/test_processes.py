"""Tasks in processes: results, failures, deaths, and ends."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import fleet_tasks
import pytest
from fake_line import until

from spade_edge.tools.fleet.executors import Processes, Task

TESTS = Path(__file__).resolve().parents[3]


def test_results_and_failures_each_with_its_task() -> None:
    tasks = [
        Task("two", fleet_tasks.double, {"value": 1}),
        Task("bad", fleet_tasks.refuse, {"what": "bolt.png"}),
        Task("slip", fleet_tasks.stumble, {}),
        Task("more", fleet_tasks.double, {"wrong": 1}),
    ]
    found = {outcome.task.name: outcome for outcome in Processes(2).outcomes(tasks)}
    assert found["two"].result == 2 and found["two"].failure is None
    bad, slip, more = (found[name].failure for name in ("bad", "slip", "more"))
    assert bad is not None and (bad.message, bad.kind, bad.exit_code) == (
        "bolt.png: expected a good one, found a bad one; change it",
        "DataError",
        3,
    )
    assert slip is not None and slip.exit_code == 70 and "ZeroDivisionError" in slip.message
    assert more is not None and "TypeError" in more.message and "\n" not in more.message


def test_a_process_that_dies_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()
    (tmp_path / "ever").mkdir()
    tasks = [
        Task("once", fleet_tasks.die, {"mark": str(tmp_path / "once"), "times": 1}),
        Task("ever", fleet_tasks.die, {"mark": str(tmp_path / "ever"), "times": 99}),
        Task("sound", fleet_tasks.double, {"value": 4}),
    ]
    found = {outcome.task.name: outcome for outcome in Processes(2).outcomes(tasks)}
    assert found["sound"].result == 8
    assert (found["once"].result, found["once"].lost) == (1, 1)
    failure = found["ever"].failure
    assert failure is not None and failure.exit_code == 3
    assert failure.message.startswith("its process ended by signal 9 (Killed), 3 times; is there too little memory?")
    assert len(list((tmp_path / "ever").iterdir())) == 3


def test_tasks_are_taken_as_there_is_room() -> None:
    taken = []

    def tasks() -> Iterator[Task]:
        for value in range(3):
            taken.append(value)
            yield Task(str(value), fleet_tasks.double, {"value": value})

    outcomes = Processes(1).outcomes(tasks())
    assert next(outcomes).result == 0
    assert taken == [0]
    assert [outcome.result for outcome in outcomes] == [2, 4]


def test_whoever_stops_asking_stops_the_processes(tmp_path: Path) -> None:
    executor = Processes(2)
    outcomes = executor.outcomes(
        [
            Task("done", fleet_tasks.double, {"value": 1}),
            Task("held", fleet_tasks.hold, {"mark": str(tmp_path), "name": "held"}),
        ]
    )
    assert next(outcomes).result == 2
    until((tmp_path / "held").exists)
    process = int((tmp_path / "held").read_text())
    outcomes.close()  # type: ignore[attr-defined]
    assert not fleet_tasks.runs(process)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=["killed", "Ctrl-C", "ended"])
def test_processes_end_with_their_driver(tmp_path: Path, number: int) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        "import fleet_tasks\n"
        "from spade_edge.tools.fleet.executors import Processes, Task\n"
        "if __name__ == '__main__':\n"
        f"    held = Task('held', fleet_tasks.hold, {{'mark': {str(tmp_path)!r}, 'name': 'held'}})\n"
        "    list(Processes(1).outcomes([held]))\n"
    )
    (tmp_path / "driver.py").write_text(program)
    driver = subprocess.Popen([sys.executable, str(tmp_path / "driver.py")], stderr=subprocess.DEVNULL)
    try:
        until((tmp_path / "held").exists)
        process = int((tmp_path / "held").read_text())
        assert fleet_tasks.runs(process)
        driver.send_signal(number)
        driver.wait()
        until(lambda: not fleet_tasks.runs(process))
    finally:
        driver.kill()
        driver.wait()


def test_ctrl_c_while_a_process_imports_does_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    imports, go = tmp_path / "imports", tmp_path / "go"
    (tmp_path / "slow_import.py").write_text(
        "import multiprocessing, os, pathlib, time\n"
        "def work():\n"
        "    return 1\n"
        "if multiprocessing.current_process().name == 'slow':\n"
        f"    pathlib.Path({str(tmp_path / 'part')!r}).write_text(str(os.getpid()))\n"
        f"    os.rename({str(tmp_path / 'part')!r}, {str(imports)!r})\n"
        f"    while not os.path.exists({str(go)!r}):\n"
        "        time.sleep(0.01)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    slow_import = importlib.import_module("slow_import")

    def interrupt() -> None:
        until(imports.exists)
        os.kill(int(imports.read_text()), signal.SIGINT)  # as a terminal does to all processes of a command
        go.touch()

    helper = Thread(target=interrupt)
    helper.start()
    (outcome,) = Processes(1).outcomes([Task("slow", slow_import.work, {})])
    helper.join()
    assert (outcome.result, outcome.lost) == (1, 0)
    assert "KeyboardInterrupt" not in capfd.readouterr().err


def test_threads_and_workers_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert Processes(1).threads == cores
    assert Processes(10 * cores).threads == 1
    assert Processes().workers == max(1, cores // 2)
