"""Figures of the line for Prometheus, in its names and units: seconds, and counters that end with _total."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from spade_edge.tools.line.configuration.options import LineConfiguration
from spade_edge.tools.line.decision import DECISIONS
from spade_edge.tools.line.page.memory import BUCKETS, Memory
from spade_edge.tools.line.state import HUNG, TROUBLED, WELL, LineState

STATES = (WELL, TROUBLED, HUNG)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What /metrics says. The figures are taken when it is asked.

    Args:
        state: returns the line as it is.
        configuration: returns the configuration in force.
        memory: has the times of decisions.
    """

    def __init__(
        self, *, state: Callable[[], LineState], configuration: Callable[[], LineConfiguration], memory: Memory
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Line(state, configuration, memory))

    def text(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _Line(Collector):
    """Labels have the names of the configuration only, so that there are few of them."""

    def __init__(
        self, state: Callable[[], LineState], configuration: Callable[[], LineConfiguration], memory: Memory
    ) -> None:
        self._state, self._configuration, self._memory = state, configuration, memory

    def collect(self) -> Iterator[Metric]:
        state = self._state()
        yield from _service(state, self._memory)
        yield from _cameras(state, self._configuration())
        yield _times(self._memory)
        yield from _outputs(state)


def _service(state: LineState, memory: Memory) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "spade_edge_info", "Name of the line and version of the software.", labels=["line", "version"]
    )
    info.add_metric([state.line, state.version], 1)
    yield info
    yield GaugeMetricFamily("spade_edge_start_time_seconds", "When the service began, since 1970.", value=state.started)
    yield CounterMetricFamily("spade_edge_heartbeats", "Signs of life that the service has given.", value=state.beat)
    silent = memory.silent
    if silent is not None:
        yield GaugeMetricFamily(
            "spade_edge_heartbeat_age_seconds", "Seconds since the last sign of life of the service.", value=silent
        )


def _cameras(state: LineState, configuration: LineConfiguration) -> Iterator[Metric]:
    camera = ["camera"]
    triggers = CounterMetricFamily("spade_edge_triggers", "Triggers of a camera.", labels=camera)
    decisions = CounterMetricFamily(
        "spade_edge_decisions",
        "Decisions by verdict: good, defect, cannot_judge or late.",
        labels=["camera", "verdict"],
    )
    rejected = CounterMetricFamily("spade_edge_rejected", "Parts that the gate was told to reject.", labels=camera)
    waiting = GaugeMetricFamily("spade_edge_waiting_triggers", "Triggers without a decision yet.", labels=camera)
    health = GaugeMetricFamily(
        "spade_edge_camera_state", "1 for the state of a camera: well, troubled or hung.", labels=["camera", "state"]
    )
    drift = GaugeMetricFamily("spade_edge_drift", "1 while parts look different from the first ones.", labels=camera)
    bundle = GaugeMetricFamily(
        "spade_edge_bundle_info",
        "Recipe and generation of the bundle that judges.",
        labels=["camera", "recipe", "bundle"],
    )
    refused = GaugeMetricFamily(
        "spade_edge_bundle_refused", "1 while a newer generation of the bundle is refused.", labels=camera
    )
    threshold = GaugeMetricFamily("spade_edge_threshold", "Score above which a part is a defect.", labels=camera)
    deadline = GaugeMetricFamily(
        "spade_edge_deadline_seconds", "Seconds from a trigger by which its decision is due.", labels=camera
    )
    for one in state.cameras:
        name = [one.name]
        triggers.add_metric(name, one.triggers)
        for verdict in DECISIONS:
            decisions.add_metric([one.name, verdict], one.counts.get(verdict, 0))
        rejected.add_metric(name, one.rejected)
        waiting.add_metric(name, one.waiting)
        for word in STATES:
            health.add_metric([one.name, word], one.health.state == word)
        drift.add_metric(name, bool(one.drift))
        bundle.add_metric([one.name, one.recipe, one.bundle], 1)
        refused.add_metric(name, bool(one.refused))
        threshold.add_metric(name, one.threshold)
        if one.name in configuration.cameras:
            deadline.add_metric(name, configuration.cameras[one.name].deadline_ms / 1000)
    yield from (triggers, decisions, rejected, waiting, health, drift, bundle, refused, threshold, deadline)


def _times(memory: Memory) -> Metric:
    times = HistogramMetricFamily(
        "spade_edge_decision_seconds",
        "Seconds from the trigger to the decision, of the parts that reached the page.",
        labels=["camera"],
    )
    bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
    for name, (counts, seconds) in memory.times().items():
        upto, buckets = 0, []
        for bound, count in zip(bounds, counts, strict=True):
            upto += count
            buckets.append((bound, upto))
        times.add_metric([name], buckets=buckets, sum_value=seconds)
    return times


def _outputs(state: LineState) -> Iterator[Metric]:
    output = ["output", "kind"]
    health = GaugeMetricFamily(
        "spade_edge_output_state",
        "1 for the state of an output, the evidence and the page too: well, troubled or hung.",
        labels=[*output, "state"],
    )
    sent = CounterMetricFamily("spade_edge_output_sent", "Decisions that an output has taken.", labels=output)
    lost = CounterMetricFamily("spade_edge_output_lost", "Decisions that an output never got.", labels=output)
    waiting = GaugeMetricFamily("spade_edge_output_waiting", "Decisions that wait for an output.", labels=output)
    for one in state.outputs:
        name = [one.name, one.kind]
        for word in STATES:
            health.add_metric([*name, word], one.health.state == word)
        sent.add_metric(name, one.sent)
        lost.add_metric(name, one.lost)
        waiting.add_metric(name, one.waiting)
    yield from (health, sent, lost, waiting)
