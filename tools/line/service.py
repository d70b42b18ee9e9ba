"""The service: cameras, outputs, evidence and the page together; signs of life; a new configuration on request.

with Service(read(Path("line.toml"))) as service:
service.wait()
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock, Thread
from typing import Any

from spade_edge import __version__
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.extras import packages_of
from spade_edge.tools.line.configuration.options import (
    CameraOptions,
    FileOptions,
    GpioOptions,
    LineConfiguration,
    ReportOptions,
    WebhookOptions,
)
from spade_edge.tools.line.configuration.source import open_camera as configured_source
from spade_edge.tools.line.courier import Courier, Item, Receiver
from spade_edge.tools.line.decision import Decision, Inspection
from spade_edge.tools.line.judge import Judge
from spade_edge.tools.line.outputs.opening import kind_of, make_output
from spade_edge.tools.line.outputs.output import Output
from spade_edge.tools.line.recipes import Recipes
from spade_edge.tools.line.state import HUNG, LineState
from spade_edge.tools.line.station import Station
from spade_edge.tools.line.systemd import Systemd
from spade_edge.tools.line.watchdog import Watchdog
from spade_edge.tools.sources import Source

log = logging.getLogger(__name__)

LOOK = 0.2  # seconds between two looks at the bundles
KEEP = 60.0  # seconds after which what was learned is written again
SWITCH = 0.0005  # seconds after which a Python thread lets another go on; Python's own 5 ms are late for a gate
PATIENCE = 2.0  # seconds that what may hang has at the end
PICTURES = 16  # inspections that wait for the evidence or the page; their frames are large


AnyCourier = Courier[Decision] | Courier[Inspection]


@dataclass(frozen=True, eq=False)
class _Way:
    """The way to an output.

    Attributes:
        courier: carries decisions there.
        cameras: whose decisions go there; empty for all.
    """

    courier: Courier[Decision]
    cameras: tuple[str, ...]


class Service:
    """Runs a line. It is a `Requests` and a `Desk` for its outputs and its page.

    Args:
        configuration: what to run.
        open_camera: opens the source of a camera.
        make: makes the output of a name.
        clock: returns seconds.
        wall: returns seconds since 1970.

    Raises:
        SpadeError: a bundle cannot be opened, or a package for an output is missing. Cameras and outputs that are not
            there yet are no error: they are opened as soon as they are.
    """

    def __init__(
        self,
        configuration: LineConfiguration,
        *,
        open_camera: Callable[[CameraOptions], Source] | None = None,
        make: Callable[..., Output] = make_output,
        systemd: Systemd | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._configuration, self._clock, self._wall = configuration, clock, wall
        self._open_camera = open_camera or partial(configured_source, reopen=math.inf)
        self._make = make
        self._systemd = systemd or Systemd()
        self._started = wall()
        self._beat = 0
        self._news = ""
        self._reloading = Lock()
        self._ended = Event()
        self._recipes = Recipes(configuration.recipes, line=configuration.line)
        self._judge = Judge(patience=configuration.line.watchdog_s, clock=clock, wall=wall)
        self._ways: Mapping[str, _Way] = {name: self._way(name, configuration) for name in configuration.outputs}
        self._viewers: Mapping[str, Courier[Inspection]] = self._open_viewers(configuration)
        self._stations: Mapping[str, Station] = {
            name: self._station(name, options, configuration) for name, options in configuration.cameras.items()
        }
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)
        self._keeper = Thread(target=self._keep, name="state", daemon=True)  # a dead disk must not stop heartbeats
        self._switch = sys.getswitchinterval()

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Begin: outputs first, so that the first decision finds them."""
        sys.setswitchinterval(min(self._switch, SWITCH))
        for courier in self._all_couriers():
            courier.start()
        self._judge.start()
        for station in self._stations.values():
            station.start()
        self._systemd.ready(self._status())
        self._thread.start()
        self._keeper.start()

    def end(self) -> None:
        """Decide on open triggers, carry what waits, and stop."""
        self._ended.set()
        self._systemd.stopping()
        _together([station.end for station in self._stations.values()])
        self._judge.end()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)  # it may look at a disk that hangs
        couriers = self._all_couriers()
        for courier in couriers:
            courier.beat(self.state())
            courier.end()
        _together([courier.join for courier in couriers])
        closing = Thread(target=self._recipes.close, daemon=True)
        closing.start()
        closing.join(PATIENCE)
        sys.setswitchinterval(self._switch)

    def stop(self) -> None:
        """Ask `wait` to return. A signal handler may call this."""
        self._ended.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all cameras have come to an end, which only files have, or `stop` was called. True if so."""
        until = None if seconds is None else self._clock() + seconds
        while not self._ended.is_set():
            if all(station.finished.is_set() for station in self._stations.values()):
                return True
            if until is not None and self._clock() >= until:
                return False
            self._ended.wait(0.1 if until is None else min(0.1, max(0.0, until - self._clock())))
        return True

    # What outputs and the page may ask.

    def trigger(self, camera: str, *, id: str | None = None, recipe: str | None = None) -> int:
        """See `spade_edge.tools.line.requests.Requests`."""
        return self._named(camera).trigger(id=id, recipe=recipe)

    def choose(self, camera: str, recipe: str) -> None:
        """See `spade_edge.tools.line.requests.Requests`."""
        self._named(camera).choose(recipe)

    @property
    def configuration(self) -> LineConfiguration:
        """The configuration in force."""
        return self._configuration

    def bundle(self, recipe: str) -> Bundle:
        """See `spade_edge.tools.line.desk.Desk`."""
        return self._recipes[recipe].scorer.bundle

    def state(self) -> LineState:
        """What the line looks like now."""
        return LineState(
            line=self._configuration.line.name,
            version=__version__,
            started=self._started,
            at=self._wall(),
            beat=self._beat,
            cameras=tuple(station.state for station in self._stations.values()),
            outputs=tuple(courier.state for courier in self._all_couriers()),
            news=self._news,
        )

    def tell(self, news: str) -> None:
        """Say something of the service as a whole: in the log, on the page and in heartbeats; empty for nothing."""
        if news and news != self._news:
            log.warning("%s", news)
        self._news = news

    def reload(self, configuration: LineConfiguration | Callable[[], LineConfiguration]) -> None:
        """Take a new configuration. What has not changed goes on without a gap.

        Cameras, outputs and bundles that changed are closed and opened again; open triggers of a camera that changed
        are decided before.

        Args:
            configuration: the new one, or what reads it: systemd waits for the end of a reload, also of one that fails.

        Raises:
            SpadeError: something of it cannot be opened; the former configuration stays in force, untouched.
        """
        with self._reloading:
            self._systemd.reloading()
            try:
                self._take(configuration() if callable(configuration) else configuration)
            finally:
                self._systemd.ready(self._status())

    def _take(self, new: LineConfiguration) -> None:
        old = self._configuration
        for name in ("provider", "threads", "require_signature", "state", "watchdog_s"):
            if getattr(new.line, name) != getattr(old.line, name):
                raise UsageError(f"[line] {name}: expected the former value, found another; restart the service")
        recipes = Recipes(new.recipes, line=new.line, former=self._recipes)
        same = {name for name in new.outputs if _is_same(name, new, old)}
        try:
            fresh = {name: self._way(name, new) for name in new.outputs if name not in same}
            viewers = self._viewers
            if (new.evidence, new.page, new.line.name) != (old.evidence, old.page, old.line.name):
                viewers = self._open_viewers(new)
        except BaseException:
            recipes.close(but=self._recipes)
            raise
        former_ways, former_viewers, former_stations = self._ways, self._viewers, self._stations
        # From here on nothing fails.
        self._configuration = new
        former_recipes, self._recipes = self._recipes, recipes
        anew = viewers is not former_viewers
        gone: list[AnyCourier] = [way.courier for name, way in former_ways.items() if name not in same]
        gone += former_viewers.values() if anew else ()
        come: list[AnyCourier] = [way.courier for way in fresh.values()]
        come += viewers.values() if anew else ()
        self._ways = {name: former_ways[name] if name in same else fresh[name] for name in new.outputs}
        self._viewers = viewers
        # Decisions already wait in the new queues. The former goes first, so that its port is free, but none waits for
        # another output.
        for courier in gone:
            courier.end()
        others = {(courier.kind, courier.name): courier for courier in come}  # an output may be called "page", too
        _together([partial(_replace, courier, others.pop((courier.kind, courier.name), None)) for courier in gone])
        for courier in others.values():
            courier.start()
        kept = {name for name, options in new.cameras.items() if old.cameras.get(name) == options}
        for name in kept:
            former_stations[name].follow(recipes, line=new.line)
        _together([station.end for name, station in former_stations.items() if name not in kept])
        self._stations = {
            name: former_stations[name]
            if name in kept
            else self._station(name, options, new, former=former_stations.get(name))
            for name, options in new.cameras.items()
        }
        for name, station in self._stations.items():
            if name not in kept:
                station.start()
        former_recipes.close(but=recipes)

    def _named(self, camera: str) -> Station:
        station = self._stations.get(camera)
        if station is None:
            raise UsageError(f"expected a camera among {', '.join(self._stations)}, found '{camera[:64]}'")
        return station

    def _station(
        self, name: str, options: CameraOptions, configuration: LineConfiguration, *, former: Station | None = None
    ) -> Station:
        """A camera; if its configuration changed, it goes on counting, and keeps the product that was chosen."""
        chosen = None
        if former is not None and former.recipe in configuration.recipes and former.options.recipe == options.recipe:
            chosen = former.recipe
        return Station(
            name,
            options,
            line=configuration.line,
            recipes=self._recipes,
            judge=self._judge,
            open_source=lambda: self._open_camera(options),
            emit=self._emit,
            tally=None if former is None else former.tally,
            first=1 if former is None else former.next,
            recipe=chosen,
            clock=self._clock,
            wall=self._wall,
        )

    def _way(self, name: str, configuration: LineConfiguration) -> _Way:
        options = configuration.outputs[name]
        output = self._make(name, configuration=configuration, requests=self)
        courier: Courier[Decision] = self._courier(
            output, name=name, kind=kind_of(options), queue=options.queue, configuration=configuration
        )
        return _Way(courier, options.cameras)

    def _courier(
        self, receiver: Receiver[Item], *, name: str, kind: str, queue: int, configuration: LineConfiguration
    ) -> Courier[Item]:
        return Courier(
            receiver,
            name=name,
            kind=kind,
            queue=queue,
            patience=configuration.line.watchdog_s,
            clock=self._clock,
            wall=self._wall,
        )

    def _all_couriers(self) -> list[AnyCourier]:
        return [*(way.courier for way in self._ways.values()), *self._viewers.values()]

    def _open_viewers(self, configuration: LineConfiguration) -> dict[str, Courier[Inspection]]:
        """The evidence and the page, which see frames too."""
        viewers: dict[str, Courier[Inspection]] = {}
        if configuration.evidence is not None:
            with packages_of("camera", needed_by="evidence"):
                from spade_edge.tools.line.evidence.ring import EvidenceRing

            ring = EvidenceRing(configuration.evidence, line=configuration.line.name)
            viewers["evidence"] = self._courier(
                ring, name="evidence", kind="evidence", queue=PICTURES, configuration=configuration
            )
        if configuration.page is not None:
            with packages_of("page", needed_by="the page"):
                from spade_edge.tools.line.page.page import Page

            kept = None if configuration.evidence is None else configuration.evidence.folder
            page = Page(configuration.page, desk=self, evidence=kept, clock=self._clock, wall=self._wall)
            viewers["page"] = self._courier(page, name="page", kind="page", queue=PICTURES, configuration=configuration)
        return viewers

    def _emit(self, inspection: Inspection) -> None:
        """Hand a decision to every output. Neither waits nor raises: a ledger holds its lock meanwhile."""
        decision = inspection.decision
        # What refuses is being ended: a new configuration may have come into force, with a successor for it.
        for name, way in self._ways.items():
            if way.cameras and decision.trigger.camera not in way.cameras:
                continue
            if not way.courier.hand_over(decision) and (next_way := self._ways.get(name)) is not None:
                next_way.courier.hand_over(decision)
        for name, viewer in self._viewers.items():
            if not viewer.hand_over(inspection) and (next_viewer := self._viewers.get(name)) is not None:
                next_viewer.hand_over(inspection)

    def _run(self) -> None:
        """Give signs of life, and look after bundles; this is what the thread runs."""
        watchdog, said = Watchdog(), ""
        beat_at = alive_at = self._clock()
        while not self._ended.is_set():
            now = self._clock()
            try:
                self._recipes.look()
                if now >= beat_at:
                    beat_at = max(beat_at + self._configuration.line.heartbeat_ms / 1000, now)
                    self._beat += 1
                    state = self.state()
                    for courier in self._all_couriers():
                        courier.beat(state)
                    watchdog.look(state)
                if now >= alive_at and self._judge.health.state != HUNG:
                    self._systemd.alive(self._status())
                    alive_at = now + min(1.0, (self._systemd.watchdog_s or 2.0) / 3)
                said = ""
            except Exception as problem:  # a fault of ours, or no memory: the next heartbeat may succeed
                if repr(problem) != said:
                    log.exception("a heartbeat was not given")
                said = repr(problem)
            self._ended.wait(max(0.0, min(LOOK, beat_at - self._clock())))

    def _keep(self) -> None:
        """Write what was learned, now and then; this is what a thread runs."""
        while not self._ended.wait(KEEP):
            for station in self._stations.values():
                station.keep()

    def _status(self) -> str:
        """The line that `systemctl status` shows."""
        state = self.state()
        counts = [f"{camera.name} {sum(camera.counts.values())} parts" for camera in state.cameras]
        return f"{state.state}: {', '.join(counts)}"


def _is_same(name: str, new: LineConfiguration, old: LineConfiguration) -> bool:
    """Whether an output may go on with a new configuration, without being closed."""
    options = new.outputs[name]
    if old.outputs.get(name) != options or new.line.name != old.line.name:
        return False
    if isinstance(options, (GpioOptions, WebhookOptions, FileOptions, ReportOptions)):
        return True
    shown, shown_before = (
        (list(each.recipes.items()), list(each.cameras), each.line.heartbeat_ms) for each in (new, old)
    )
    return shown == shown_before  # the others name cameras and number products, or wait for heartbeats


def _replace(former: Courier[Any], successor: Courier[Any] | None) -> None:
    """Wait until an output is closed, and start the one that takes its place, also with what still waits."""
    former.join()
    if successor is not None:
        successor.take_over(former)
        successor.start()


def _together(calls: list[Callable[[], None]]) -> None:
    """Make calls that wait at the same time."""
    threads = [Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
