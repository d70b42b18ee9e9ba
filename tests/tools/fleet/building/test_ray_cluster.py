"""Tasks on a real Ray cluster on loopback, of two nodes that work and one that does not; one of them is killed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fleet_tasks
import pytest
from fake_line import until

from spade_edge.galleries import BuildOptions, pack
from spade_edge.runtime import DeviceError
from spade_edge.tools.fleet.building import build_fleet
from spade_edge.tools.fleet.executors import Task
from spade_edge.tools.fleet.executors.ray_cluster import RayCluster

pytestmark = pytest.mark.slow
PATIENCE = 300.0  # seconds that a busy machine may take to start a node
TRIES = 3
STORE = 100 << 20  # bytes; results are small


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray")
    tests = str(Path(fleet_tasks.__file__).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_gcs_server_request_timeout_seconds", str(int(PATIENCE)))
        patch.setenv("PYTHONPATH", tests, prepend=os.pathsep)  # where workers find the tasks
        found = _started(2)
        try:
            yield found
        finally:
            found.shutdown()


def _started(workers: int) -> Any:
    """A cluster with a node that does no work, and some that do.

    Ray gives each node 30 seconds to start, which may be too few on a machine that is very busy; so there are some
    tries.
    """
    from ray.cluster_utils import Cluster

    for number in range(1, TRIES + 1):
        found = Cluster()
        try:
            found.add_node(num_cpus=0, object_store_memory=STORE, include_dashboard=False)
            for _ in range(workers):
                found.add_node(num_cpus=1, object_store_memory=STORE)
            found.wait_for_nodes(timeout=PATIENCE)
        except Exception:
            found.shutdown()
            if number == TRIES:
                raise
        else:
            return found
    raise AssertionError


def test_bundles_have_the_same_bytes_and_a_node_may_die(cluster: Any, planned: Any, tmp_path: Path) -> None:
    options = {"bolt": BuildOptions(place="free"), "nut": BuildOptions(place=1)}
    build_fleet(planned(output="here", cache="first", **options), fleet_tasks.Here)
    with closing(RayCluster(cluster.address)) as ray:
        assert ray.threads == 1
        whole = build_fleet(planned(output="ray", cache="second", **options), lambda: Kept(ray))
        parts = build_fleet(planned(output="parts", cache="third", shards=3, **options), lambda: Kept(ray))
        assert [row.state for row in (*whole, *parts)] == ["built"] * 4
        for name in options:
            wanted = pack(tmp_path / "here" / f"{name}.spade", tmp_path / "here.tar").path.read_bytes()
            for output in ("ray", "parts"):
                found = pack(tmp_path / output / f"{name}.spade", tmp_path / "found.tar").path.read_bytes()
                assert found == wanted
        failed, sound = sorted(
            ray.outcomes(
                [
                    Task("bad", fleet_tasks.refuse, {"what": "bolt.png"}),
                    Task("two", fleet_tasks.double, {"value": 1}),
                ]
            ),
            key=lambda outcome: outcome.task.name,
        )
        assert sound.result == 2 and failed.failure is not None
        assert (failed.failure.kind, failed.failure.exit_code) == ("DataError", 3)

        def with_a_death() -> Iterator[Task]:
            """Two tasks, one on each node; then a node dies, and only then they may end."""
            for name in ("a", "b"):
                yield Task(name, fleet_tasks.hold, {"mark": str(tmp_path), "name": name})
            until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
            processes = [int((tmp_path / name).read_text()) for name in ("a", "b")]
            cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
            until(lambda: sum(fleet_tasks.runs(process) for process in processes) == 1)
            (tmp_path / "go").touch()

        outcomes = list(ray.outcomes(with_a_death()))
        assert sorted(outcome.result["name"] for outcome in outcomes) == ["a", "b"]
        assert sorted(outcome.lost for outcome in outcomes) == [0, 1]


def test_a_worker_that_always_dies_or_lacks_a_package_ends_in_one_line(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def work():\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_here = importlib.import_module("only_here")
    with closing(RayCluster(cluster.address)) as ray:
        tasks = [
            Task("ever", fleet_tasks.die, {"mark": str(tmp_path), "times": 99}),
            Task("sound", fleet_tasks.double, {"value": 1}),
            Task("lacking", only_here.work, {}),
        ]
        found = {outcome.task.name: outcome for outcome in ray.outcomes(tasks)}
    assert found["sound"].result == 2
    failure = found["ever"].failure
    assert failure is not None and failure.exit_code == 3 and "\n" not in failure.message
    assert failure.message.startswith("its worker died 3 times, at last: ")
    assert len(list(tmp_path.glob("death-*"))) == 3
    lacking = found["lacking"].failure
    assert lacking is not None and lacking.exit_code == 4 and found["lacking"].lost == 0
    assert lacking.message == (
        "its worker cannot run it: ModuleNotFoundError: No module named 'only_here'; "
        "install the same spade-edge on every node"
    )


def test_a_cluster_without_nodes_that_work_is_given_up() -> None:
    pytest.importorskip("ray")
    found = _started(0)
    try:
        with closing(RayCluster(found.address, patience=0.0)) as ray, pytest.raises(DeviceError) as caught:
            list(ray.outcomes([Task("two", fleet_tasks.double, {"value": 1})]))
    finally:
        found.shutdown()
    assert str(caught.value).startswith("expected a node of the Ray cluster that can work, found none for 0 s; ")


def test_a_node_with_fewer_cpus_than_a_task_takes_cannot_work() -> None:
    cluster = RayCluster.__new__(RayCluster)
    cluster.threads = 2
    nodes = [{"Alive": alive, "Resources": {"CPU": cpus}} for alive, cpus in ((True, 1.0), (True, 2.0), (False, 4.0))]
    cluster._ray = SimpleNamespace(nodes=lambda: nodes)
    assert cluster._nodes() == [nodes[1]]


class Kept:
    """An executor that is not closed with a build."""

    def __init__(self, executor: RayCluster) -> None:
        self.threads, self.outcomes = executor.threads, executor.outcomes

    def close(self) -> None:
        pass
