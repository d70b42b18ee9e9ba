"""One camera of the line: its triggers, its frames, and the decisions on them.

frame            from the camera; in a thread of its own
│                trigger = "frame": the frame is a trigger. A gap in the camera's numbers is one for each lost frame
│                trigger = "message": it answers the oldest message that still waits for a frame
ledger           one decision for each trigger
│                a damaged frame: cannot_judge
judge            the frame waits for its turn
│                recipes.py: the product's newest generation, as it is now
result
│                drift.py: do parts look different
decision         let out by the ledger, in order
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from threading import Event, Lock, Thread

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import FrameError, FrameResult, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.drift.change import Drift
from spade_edge.tools.line.configuration.options import FRAME, CameraOptions, LineOptions
from spade_edge.tools.line.decision import Inspection
from spade_edge.tools.line.decisions import Decisions
from spade_edge.tools.line.drift import CameraDrift
from spade_edge.tools.line.fault import in_words
from spade_edge.tools.line.judge import Judge
from spade_edge.tools.line.ledger import FOR_SCORING, SCORING, Emit, EndedError, Entry, Ledger
from spade_edge.tools.line.recipes import Recipe, Recipes
from spade_edge.tools.line.state import HUNG, TROUBLED, WELL, CameraState, Health, worst
from spade_edge.tools.line.tally import Tally
from spade_edge.tools.memory import shortage
from spade_edge.tools.sources import Shot, Source

log = logging.getLogger(__name__)

SOONEST, LATEST = 0.5, 30.0  # seconds until a source that has failed is opened again; the time doubles
MOST_LOST = 1000  # a larger gap in the numbers of frames is a counter that began anew
MOST_WAITING = 1000  # messages that wait for a frame


class Station:
    """One camera of the line.

    Args:
        name: of the camera.
        options: its part of the configuration.
        line: what holds for all cameras.
        recipes: the products.
        judge: scores the frames.
        open_source: opens the camera; called again whenever it has failed.
        emit: gets every decision, in order; it must neither wait nor raise.
        tally: counts them; None for a new one.
        first: running number of the first trigger.
        recipe: the product that is chosen; None for that of the configuration.
        clock: returns seconds.
        wall: returns seconds since 1970.
    """

    def __init__(
        self,
        name: str,
        options: CameraOptions,
        *,
        line: LineOptions,
        recipes: Recipes,
        judge: Judge,
        open_source: Callable[[], Source],
        emit: Emit,
        tally: Tally | None = None,
        first: int = 1,
        recipe: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.options, self.recipes = name, options, recipes
        self._line, self._judge, self._open_source, self._emit = line, judge, open_source, emit
        self.tally = tally or Tally()
        self._clock, self._wall = clock, wall
        self._recipe = options.recipe if recipe is None else recipe
        self._decisions = Decisions(line, clock=clock, wall=wall)
        self._drift = CameraDrift(name, folder=line.state)
        self._ledger = Ledger(
            name,
            seconds=options.deadline_ms / 1000,
            late=lambda entry: self._decisions.late(entry, recipe=self._recipe_of(entry)),
            emit=self._let_out,
            first=first,
            clock=clock,
            wall=wall,
        )
        self._messages: deque[Entry] = deque()  # triggers that wait for a frame
        self._queueing = Lock()  # of the messages. Taken before the ledger's lock, and that before the next one
        self._lock = Lock()  # of what follows, down to the blank line
        self._fault = Health(WELL, "", wall())  # of the camera; one that waits for its first part is well
        self._failing = Health(WELL, "", wall())  # of scoring its frames
        self._begun = False  # whether a frame has come

        self._drifting = ""  # how parts look different, as of the latest result
        self._seen = clock()  # when the latest frame came
        self._number: int | None = None  # of the latest frame, as the camera counts
        self._source: Source | None = None
        self._ending = Event()
        self.finished = Event()  # set when a source with an end has come to it, and at the end
        self._thread = Thread(target=self._run, name=f"camera {name}", daemon=True)  # a read that hangs must not block

    def start(self) -> None:
        """Open the camera, and begin to decide."""
        self._ledger.start()
        self._thread.start()

    def end(self, *, patience: float = 2.0) -> None:
        """Take no further triggers, and decide on those that are open. A read that hangs is abandoned."""
        self._ending.set()
        if (source := self._source) is not None:
            source.ended.set()
        waited = self._clock() + patience
        self._ledger.wait_empty(until=lambda: self._clock() >= waited)
        self._ledger.end()
        if self._thread.ident is not None:
            self._thread.join(patience)
        keeping = Thread(target=self.keep, name=f"state of {self.name}", daemon=True)  # a dead disk must not block
        keeping.start()
        keeping.join(patience)

    def keep(self) -> None:
        """Write what was learned of the line."""
        self._drift.keep()

    def trigger(self, *, id: str | None, recipe: str | None) -> int:
        """Take a message as a trigger; see `Requests.trigger`."""
        if self.options.trigger == FRAME:
            raise UsageError(
                f"camera {self.name}: expected a camera whose triggers are messages, found one whose frames are its "
                'triggers; set trigger = "message"'
            )
        if recipe is not None:
            self.recipes[recipe]
        if self._ending.is_set():
            raise UsageError(f"camera {self.name}: expected a camera that works, found one that is being ended")
        with self._queueing:  # so that messages wait in the order of their numbers
            entry = self._ledger.enter(id=id, recipe=self._recipe if recipe is None else recipe)
            self._messages.append(entry)
            if len(self._messages) > MOST_WAITING:
                self._messages.popleft()  # it becomes late
        return entry.trigger.number

    def choose(self, recipe: str) -> None:
        """Judge the next triggers as another product; see `Requests.choose`."""
        with self._lock:  # with that of `follow`, so that a product that goes is not chosen
            self.recipes[recipe]
            before, self._recipe = self._recipe, recipe
        if recipe != before:
            log.warning("camera %s: recipe %s instead of %s", self.name, recipe, before)

    def follow(self, recipes: Recipes, *, line: LineOptions) -> None:
        """Go on with a changed configuration of everything but the camera itself."""
        self._decisions = replace(self._decisions, line=line)
        with self._lock:
            self._line, self.recipes = line, recipes
            if self._recipe not in recipes.names:
                self._recipe = self.options.recipe

    @property
    def recipe(self) -> str:
        """Name of the product that is chosen."""
        return self._recipe

    @property
    def next(self) -> int:
        """Running number of the next trigger."""
        return self._ledger.next

    @property
    def state(self) -> CameraState:
        """How it is."""
        with self._lock:
            recipes, chosen = self.recipes, self._recipe
        recipe = recipes[chosen]
        bundle = recipe.scorer.bundle
        counted = self.tally.now
        return CameraState(
            name=self.name,
            health=self._health(),
            recipe=chosen,
            recipes=recipes.names,
            triggers=self._ledger.next - 1,
            counts=counted.verdicts,
            rejected=counted.rejected,
            waiting=len(self._ledger),
            bundle=bundle.digest[:SHORT],
            threshold=bundle.manifest.threshold.score,
            certificate=bundle.manifest.threshold.sentence(),
            refused=recipe.refused,
            drift=self._drifting,
            self_test=recipe.self_test,
            pulled=recipe.pulled,
            p50=counted.p50,
            p99=counted.p99,
            longest=counted.longest,
        )

    def _health(self) -> Health:
        """The worst that is known of the camera and of scoring."""
        with self._lock:
            known = [self._fault, self._failing, self._judge.health]  # of equals, the first says since when
        silent = self._clock() - self._seen
        if self.options.stall_s and silent >= self.options.stall_s and not self.finished.is_set():
            known.append(Health(HUNG, f"no frame for {silent:.0f} s", self._wall() - silent))
        wanted = worst([health.state for health in known])
        return next(health for health in known if health.state == wanted)

    def _run(self) -> None:
        """Read the camera, and open it again; this is what the thread runs."""
        wait = SOONEST
        while not self._ending.is_set():
            try:
                self._source = source = self._open_source()
                if self._ending.is_set():
                    break
                for shot in source:
                    wait = SOONEST
                    self._take(shot)
                    if not source.endless:  # nobody waits at a conveyor: the next file comes after this decision
                        self._ledger.wait_empty(until=self._ending.is_set)
                    if self._ending.is_set():
                        break
                if not source.endless or self._ending.is_set():
                    break
                self._trouble("the source has ended")
            except EndedError:
                break
            except Exception as problem:  # whatever it is, the line runs on
                self._trouble(in_words(problem))
            self._source = None
            self._ending.wait(wait)
            wait = min(2 * wait, LATEST)
        self.finished.set()

    def _take(self, shot: Shot) -> None:
        """Take what the camera has delivered."""
        if shot.news:
            self._trouble(shot.fault)
            return
        self._seen = self._clock()
        self._well()
        if self.options.trigger == FRAME:
            self._enter_lost(shot)
            self._answer(self._ledger.enter(id=_id(shot), recipe=self._recipe), shot)
        elif (entry := self._oldest_message()) is not None:
            self._answer(entry, shot)

    def _enter_lost(self, shot: Shot) -> None:
        """Decide on frames that the camera has counted but not delivered."""
        if not self.options.numbered:
            return
        if shot.part is None:
            if self._number is not None and shot.frame is None:
                self._number += 1  # a damaged frame, whose number is not known, is not lost as well
            return
        if not (shot.part.isascii() and shot.part.isdecimal() and len(shot.part) <= 20):
            return
        number, before = int(shot.part), self._number
        self._number = number
        if before is None or not 1 < number - before <= MOST_LOST:
            return
        for lost in range(before + 1, number):
            entry = self._ledger.enter(id=str(lost), recipe=self._recipe)
            reason = f"the camera has delivered no frame {lost}"
            decision = self._decisions.cannot_judge(entry.trigger, recipe=self._recipe_of(entry), reason=reason)
            self._ledger.decide(entry, decision)

    def _oldest_message(self) -> Entry | None:
        """The trigger that a frame of now answers."""
        soonest = self._clock() - self.options.frame_after_ms / 1000
        with self._queueing:
            while self._messages and not self._ledger.is_open(self._messages[0]):
                self._messages.popleft()
            if self._messages and self._messages[0].trigger.at <= soonest:
                return self._messages.popleft()
        return None

    def _answer(self, entry: Entry, shot: Shot) -> None:
        """Give a trigger its frame."""
        frame = shot.frame
        if frame is None:
            decision = self._decisions.cannot_judge(entry.trigger, recipe=self._recipe_of(entry), reason=shot.fault)
            self._ledger.decide(entry, decision)
            return
        if not self._ledger.note(entry, waits_for=FOR_SCORING, frame=frame):
            return
        self._judge.submit(
            deadline=entry.trigger.deadline,
            camera=self.name,
            wanted=lambda: self._ledger.is_open(entry),
            run=lambda: self._score(entry, frame),
            drop=lambda: self._ledger.release(entry),
        )

    def _score(self, entry: Entry, frame: NDArray[np.uint8]) -> None:
        """Score a frame and decide; the judge runs this."""
        self._ledger.note(entry, waits_for=SCORING)
        trigger, name = entry.trigger, self._recipe_of(entry)
        try:
            recipe = self.recipes[name]
            scorer = recipe.scorer  # the service looks for newer ones: a disk that hangs must not keep frames waiting
            result = scorer(frame)
        except Exception as problem:  # whatever it is, this part cannot be judged, and the line runs on
            if not isinstance(problem, FrameError):
                self._become_failing(f"a frame could not be scored: {in_words(problem)}")
            reason = shortage(problem) or in_words(problem)
            self._ledger.decide(entry, self._decisions.cannot_judge(trigger, recipe=name, reason=reason, frame=frame))
            return
        drift = self._follow_drift(recipe, scorer.bundle, result, trigger.time)
        self._ledger.decide(
            entry,
            self._decisions.judged(trigger, recipe=name, frame=frame, result=result, bundle=scorer.bundle, drift=drift),
        )

    def _follow_drift(self, recipe: Recipe, bundle: Bundle, result: FrameResult, time: float) -> Drift | None:
        """How parts look different. A fault in this costs no verdict."""
        try:
            drift = self._drift.add(recipe.name, bundle, result, time) if recipe.options.drift else None
        except Exception as problem:
            self._become_failing(f"drift is not followed: {in_words(problem)}")
            return None
        self._become_failing("")
        return drift

    def _recipe_of(self, entry: Entry) -> str:
        """The product that a trigger is judged as. If the configuration has it no more, the part cannot be judged."""
        return self._recipe if entry.trigger.recipe is None else entry.trigger.recipe

    def _let_out(self, inspection: Inspection) -> None:
        """Count a decision, and hand it on. The ledger calls this in order."""
        decision = inspection.decision
        self.tally.add(decision)
        if inspection.result is not None:
            self._drifting = decision.drift
        self._emit(inspection)

    def _trouble(self, words: str) -> None:
        with self._lock:
            if self._fault.words == words:
                return
            self._fault = Health(TROUBLED, words, self._wall())
        log.warning("camera %s: %s", self.name, words)

    def _well(self) -> None:
        with self._lock:
            begun, self._begun = self._begun, True
            if begun and self._fault.state == WELL:
                return
            if self._fault.state != WELL:
                self._fault = Health(WELL, "", self._wall())
        log.warning("camera %s: %s", self.name, "frames come again" if begun else "the first frame has come")

    def _become_failing(self, words: str) -> None:
        with self._lock:
            if self._failing.words == words:
                return
            self._failing = Health(TROUBLED if words else WELL, words, self._wall())
        if words:
            log.warning("camera %s: %s", self.name, words)


def _id(shot: Shot) -> str | None:
    """What a trigger is called whose frame this is: as the camera numbers it, or the file's name."""
    if shot.part is not None:
        return shot.part[:128]
    if not isinstance(shot.name, str):
        return None
    return shot.name[:256].encode("utf-8", "replace").decode()  # the name of a file may be no text
