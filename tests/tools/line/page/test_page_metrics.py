"""/metrics, read by Prometheus' own parser, and the table in the documentation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from desks import FakeDesk, served
from inspections import good
from prometheus_client.parser import text_string_to_metric_families
from sample_decisions import BEGAN

from spade_edge.tools.line.page.memory import Memory
from spade_edge.tools.line.page.metrics import Metrics
from spade_edge.tools.line.state import TROUBLED, Health

DOCS = Path(__file__).parents[4] / "docs" / "line" / "page.md"


def desk() -> FakeDesk:
    desk = FakeDesk()
    top, side = desk.now.cameras
    counts = {"good": 90, "defect": 7, "cannot_judge": 2, "late": 1}
    top = replace(top, triggers=101, counts=counts, rejected=10, waiting=1, drift="darker", refused="broken")
    side = replace(side, health=Health(TROUBLED, "unplugged", BEGAN))
    desk.now = replace(desk.now, cameras=(top, side))
    desk.now = replace(desk.now, outputs=(replace(desk.now.outputs[0], sent=99, lost=3, waiting=4),))
    return desk


def test_the_figures_are_those_of_the_line() -> None:
    line = desk()
    memory = Memory(keep_rejects=False)
    memory.beat(line.now)
    for milliseconds in (4, 40, 400):
        memory.add(good(1, milliseconds=milliseconds))
    text = Metrics(state=line.state, configuration=lambda: line.configuration, memory=memory).text().decode()
    found = {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }

    def value(name: str, **labels: str) -> float:
        return found[f"spade_edge_{name}", tuple(sorted(labels.items()))]

    assert value("triggers_total", camera="top") == 101 and value("rejected_total", camera="top") == 10
    for verdict, count in line.now.cameras[0].counts.items():
        assert value("decisions_total", camera="top", verdict=verdict) == count
    assert value("waiting_triggers", camera="top") == 1 and value("drift", camera="top") == 1
    assert value("drift", camera="side") == 0 and value("bundle_refused", camera="top") == 1
    states = {state: value("camera_state", camera="side", state=state) for state in ("well", "troubled", "hung")}
    assert states == {"well": 0, "troubled": 1, "hung": 0}
    assert value("decision_seconds_count", camera="top") == 3
    assert value("decision_seconds_bucket", camera="top", le="0.05") == 2
    assert value("decision_seconds_bucket", camera="top", le="+Inf") == 3
    assert abs(value("decision_seconds_sum", camera="top") - 0.444) < 1e-9
    assert value("output_lost_total", output="records", kind="file") == 3
    assert value("deadline_seconds", camera="top") == 0.1 and value("threshold", camera="top") == 5
    assert value("bundle_info", camera="top", recipe="bolt", bundle="0123456789abcdef") == 1
    assert value("start_time_seconds") == BEGAN


def test_labels_stay_few_whatever_parts_are_called(tmp_path: Path) -> None:
    line = desk()
    with served(tmp_path, line) as (page, call):
        page.beat(line.now)
        before = len(call("GET", "/metrics").content.splitlines())
        page.send(good(1))
        first = len(call("GET", "/metrics").content.splitlines())
        for number in range(200):
            page.send(good(number, id=f'"}} evil {number}\n'))
        answer = call("GET", "/metrics")
        assert len(answer.content.splitlines()) == first == before and b"evil" not in answer.content
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_the_documentation_names_every_figure_and_no_other() -> None:
    line = desk()
    memory = Memory(keep_rejects=False)
    memory.beat(line.now)
    memory.add(good(1))
    text = Metrics(state=line.state, configuration=lambda: line.configuration, memory=memory).text().decode()
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    labels = {
        family.name: {label for one in family.samples for label in one.labels} - {"le"}
        for family in text_string_to_metric_families(text)
    }
    table = re.findall(r"^\| `(spade_edge_\w+)` \| (\w+) \|([^|]*)\|", DOCS.read_text("utf-8"), re.M)
    told = {name: (kind, set(re.findall(r"\w+", known))) for name, kind, known in table}
    assert told == {name: (kind, labels[name.removesuffix("_total")]) for name, kind in kinds.items()}
