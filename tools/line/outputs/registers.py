"""The register map of the Modbus server: what stands where. docs/line/controllers.md shows these tables.

A block is a number of registers that is read in one request. Whoever does so sees values of one moment, because each
change makes a new image of all registers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD
from spade_edge.tools.line.configuration.options import PASS, REJECT, LineConfiguration
from spade_edge.tools.line.decision import LATE, Decision
from spade_edge.tools.line.state import HUNG, TROUBLED, WELL, CameraState, LineState

VERSION = 1  # of the map; registers that are reserved may get a meaning without a new one

VERDICTS = {GOOD: 1, DEFECT: 2, CANNOT_JUDGE: 3, LATE: 4}  # 0: there was no decision yet
GATES = {PASS: 1, REJECT: 2}
STATES = {WELL: 1, TROUBLED: 2, HUNG: 3}
TAKEN, REFUSED, NOTED = 1, 2, 3  # answers to commands; 0: there was none

HEADER_SIZE = 20  # registers; with one camera, they and its block are 120, which one request reads
BLOCK_SIZE = 100  # registers for each camera
SLOTS, SLOT_SIZE, FIRST_SLOT = 8, 6, 50  # decisions that are kept, so that a controller misses none between two looks
COMMAND_SIZE = 10  # holding registers for each camera
BITS = 16  # discrete inputs for the line, and for each camera
MOST_CAMERAS = 600
LARGEST = 3.4028234663852886e38  # a float32


@dataclass(frozen=True)
class Register:
    """A value in the map.

    Attributes:
        name: of the value.
        at: its first register, counted from the beginning of the block.
        kind: "uint16"; "uint32" and "float32": two registers, the high word first.
        about: what it is.
    """

    name: str
    at: int
    kind: str
    about: str

    def words(self, value: float | None) -> Sequence[int]:
        """The registers that hold a value. A number without a value is 0, and a float32 is NaN."""
        if self.kind == "float32":
            return struct.unpack(">HH", struct.pack(">f", _float32(value)))
        number = 0 if value is None else int(value)
        return (number & 0xFFFF,) if self.kind == "uint16" else (number >> 16 & 0xFFFF, number & 0xFFFF)


HEADER = (
    Register("version", 0, "uint16", f"version of this map: {VERSION}"),
    Register("heartbeat", 1, "uint16", "number of the heartbeat; another one at each heartbeat"),
    Register("state", 2, "uint16", "the worst state of a camera: 1 well, 2 troubled, 3 hung"),
    Register("cameras", 3, "uint16", "how many blocks of cameras follow"),
    Register(
        "started", 4, "uint32", "when the service began, in seconds since 1970, UTC; another one: it was restarted"
    ),
    Register("heartbeat_ms", 6, "uint16", "milliseconds between two heartbeats"),
    Register("block_size", 7, "uint16", f"registers for each camera: {BLOCK_SIZE}"),
)

CAMERA = (
    Register(
        "number", 0, "uint32", "running number of the last decision; 0 before the first. Another one is a new part"
    ),
    Register("verdict", 2, "uint16", "0 none yet, 1 good, 2 defect, 3 cannot_judge, 4 late"),
    Register("gate", 3, "uint16", "what the gate has to do: 0 none yet, 1 pass, 2 reject"),
    Register("trigger", 4, "uint32", "the trigger's id, if it is a number below 4,294,967,296; otherwise 0"),
    Register("recipe", 6, "uint16", "number of the product that it was judged as"),
    Register("test", 7, "uint16", "1: a test message, and there is no part"),
    Register("milliseconds", 8, "float32", "from the trigger to the decision"),
    Register("score", 10, "float32", "NaN where no frame was judged, as for the next two"),
    Register("threshold", 12, "float32", "scores above it are defects"),
    Register("p", 14, "float32", "how many good parts score as high, as a fraction; NaN where the bundle cannot say"),
    Register("decided", 16, "uint32", "when it was decided, in seconds since 1970, UTC"),
    Register("decided_ms", 18, "uint16", "and milliseconds, 0 to 999"),
    Register("regions", 19, "uint16", "number of regions above the pixel threshold"),
    Register(
        "health", 22, "uint16", "of the camera: 1 well, 2 troubled, 3 hung; it and the next ones at each heartbeat"
    ),
    Register("chosen", 23, "uint16", "number of the product that is chosen"),
    Register("triggers", 24, "uint32", "triggers so far"),
    Register("good", 26, "uint32", "decisions so far, as for the next three"),
    Register("defect", 28, "uint32", ""),
    Register("cannot_judge", 30, "uint32", ""),
    Register("late", 32, "uint32", ""),
    Register("rejected", 34, "uint32", "parts that were to be rejected so far"),
    Register("waiting", 36, "uint16", "triggers without a decision yet"),
    Register("number_again", 98, "uint32", "as in register 0, for those who read a block in several requests"),
)

SLOT = (
    Register("number", 0, "uint32", "running number of a decision; the slot is its remainder after division by 8"),
    Register("trigger", 2, "uint32", "as above"),
    Register("verdict", 4, "uint16", "as above"),
    Register("gate", 5, "uint16", "as above"),
)

COMMANDS = (
    Register("recipe", 0, "uint16", "number of the product to choose, at each write; 0 for no change"),
    Register("trigger", 1, "uint32", "id of the next trigger; 0 for the running number"),
    Register("trigger_recipe", 3, "uint16", "number of the product that this part is; 0 for the one that is chosen"),
    Register("trigger_counter", 4, "uint16", "another value than the last one triggers"),
)

ANSWERS = (
    Register("recipe_answer", 5, "uint16", "to the last choice: 0 none yet, 1 done, 2 refused"),
    Register(
        "trigger_answer", 6, "uint16", "to the last trigger: 0 none yet, 1 taken, 2 refused, 3 only taken note of"
    ),
    Register("trigger_counter_answered", 7, "uint16", "the counter that this answers"),
    Register("trigger_number", 8, "uint32", "running number that the trigger got"),
)

LINE_BITS = ("heartbeat: changes at each heartbeat", "healthy: no camera is in trouble")
CAMERA_BITS = (
    "pass: the last decision was to let the part pass",
    "reject: the last decision was to reject the part",
    "healthy: the camera is well",
    "odd: the number of the last decision is odd, so this changes at each decision",
)

_HEADER, _CAMERA, _SLOT = ({register.name: register for register in table} for table in (HEADER, CAMERA, SLOT))


@dataclass(frozen=True)
class Image:
    """All that can be read, at one moment.

    Attributes:
        registers: the input registers from 0.
        bits: the discrete inputs from 0, 16 in each number, the first one in the lowest bit.
        beaten: when the last heartbeat came, in seconds of the clock; None before the first.
    """

    registers: tuple[int, ...]
    bits: tuple[int, ...]
    beaten: float | None


class RegisterMap:
    """Keeps the image of all registers. Any thread may use it.

    Args:
        configuration: of the line.
        cameras: names of the cameras that are shown, in this order.
        clock: returns seconds.
    """

    def __init__(self, configuration: LineConfiguration, *, cameras: Sequence[str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._first = {name: HEADER_SIZE + index * BLOCK_SIZE for index, name in enumerate(cameras)}
        self._numbers = recipe_numbers(configuration)
        self._registers = [0] * (HEADER_SIZE + len(cameras) * BLOCK_SIZE)
        self._bits = [0] * (1 + len(cameras))
        self._beaten: float | None = None
        fixed = {"version": VERSION, "cameras": len(cameras), "block_size": BLOCK_SIZE}
        fixed["heartbeat_ms"] = configuration.line.heartbeat_ms
        self._put(0, _HEADER, fixed)
        for first in self._first.values():
            self._put(first, _CAMERA, dict.fromkeys(("milliseconds", "score", "threshold", "p")))
        self._image = Image(tuple(self._registers), tuple(self._bits), None)

    @property
    def image(self) -> Image:
        """The image of now."""
        return self._image

    def decide(self, decision: Decision) -> None:
        """Show a decision."""
        first = self._first.get(decision.trigger.camera)
        if first is None:
            return
        number = decision.trigger.number & 0xFFFFFFFF
        whole = int(decision.decided)
        shown: dict[str, float | None] = {
            "number": number,
            "verdict": VERDICTS[decision.verdict],
            "gate": GATES[decision.gate],
            "trigger": _number(decision.trigger.id),
            "recipe": self._numbers.get(decision.recipe, 0),
            "test": decision.test,
            "milliseconds": decision.milliseconds,
            "score": decision.score,
            "threshold": decision.threshold,
            "p": decision.p,
            "decided": whole,
            "decided_ms": int(1000 * (decision.decided - whole)),
            "regions": min(len(decision.regions), 0xFFFF),
            "number_again": number,
        }
        bits = (decision.gate == PASS) | (decision.gate == REJECT) << 1 | (number & 1) << 3
        with self._lock:
            self._put(first, _CAMERA, shown)
            slot = first + FIRST_SLOT + number % SLOTS * SLOT_SIZE
            self._put(slot, _SLOT, {name: shown[name] for name in _SLOT})
            index = self._word(first)
            self._bits[index] = self._bits[index] & 0b0100 | bits
            self._publish()

    def beat(self, state: LineState) -> None:
        """Show a heartbeat."""
        with self._lock:
            self._beaten = self._clock()
            header = {"heartbeat": state.beat, "state": STATES[state.state], "started": state.started}
            self._put(0, _HEADER, header)
            self._bits[0] = (state.beat & 1) | (state.state == WELL) << 1
            for camera in state.cameras:
                if camera.name in self._first:
                    self._show(self._first[camera.name], camera)
            self._publish()

    def _show(self, first: int, camera: CameraState) -> None:
        counts = {verdict: camera.counts.get(verdict, 0) for verdict in VERDICTS}
        shown: dict[str, float | None] = {
            "health": STATES[camera.health.state],
            "chosen": self._numbers.get(camera.recipe, 0),
            "triggers": camera.triggers,
            "rejected": camera.rejected,
            "waiting": min(camera.waiting, 0xFFFF),
            **counts,
        }
        self._put(first, _CAMERA, shown)
        index = self._word(first)
        self._bits[index] = self._bits[index] & 0b1011 | (camera.health.state == WELL) << 2

    def _put(self, first: int, table: Mapping[str, Register], values: Mapping[str, float | None]) -> None:
        for name, value in values.items():
            register = table[name]
            words = register.words(value)
            at = first + register.at
            self._registers[at : at + len(words)] = words

    def _word(self, first: int) -> int:
        """Where the bits of the camera are whose block begins at `first`."""
        return 1 + (first - HEADER_SIZE) // BLOCK_SIZE

    def _publish(self) -> None:
        self._image = Image(tuple(self._registers), tuple(self._bits), self._beaten)


def recipe_numbers(configuration: LineConfiguration) -> dict[str, int]:
    """Name of each product to the number by which controllers choose it."""
    return {
        name: place if options.number is None else options.number
        for place, (name, options) in enumerate(configuration.recipes.items(), 1)
    }


def _float32(value: float | None) -> float:
    """A value that a float32 can hold; NaN for none."""
    return float("nan") if value is None else max(-LARGEST, min(LARGEST, value))


def _number(id: str) -> int:
    """The number that an id is; 0 if it is none."""
    if not (id.isascii() and id.isdecimal() and len(id) <= 20):
        return 0
    number = int(id)
    return number if number <= 0xFFFFFFFF else 0
