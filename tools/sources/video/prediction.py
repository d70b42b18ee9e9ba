"""Which frames of a video are whole, where most frames are predicted from others.

A codec sends a key frame now and then, and between key frames only what has changed. So damage spreads: every frame
after a damaged one is built on it, up to the next key frame. Decoders hide all of this: they fill what is missing from
the frame before and go on.

Packets go into a decoder in the order of decoding, and frames come out in the order of display. A frame that is
displayed first can be built on one that is displayed later, so a frame waits here until the fate of all packets before
its own is known. In a stream whose frames are displayed as they are decoded, none waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

Frame = TypeVar("Frame")

WAITING = 17  # packets without a frame that are waited for; codecs reorder 16 frames at most
STEPS = 9  # latest distances of time stamps that tell the usual one
MOST_MISSING = 100  # frames that are reported as missing at once

DAMAGED = "expected a whole frame, found one with missing or damaged data"
PREDICTED = "expected a whole frame, found one predicted from damaged data; frames are judged again from a key frame on"
BEGINNING = "expected a key frame first, found a frame predicted from one before the beginning"
LOST = "expected a frame, found none in its place: its data are missing"


@dataclass(eq=False)
class Sent(Generic[Frame]):
    """A packet that the decoder has been given.

    Attributes:
        number: of the packet, in the order of decoding.
        stamp: when its frame is displayed, in units of the stream; None if unknown.
        entry: whether a decoder can begin here: with a key frame, or with one that starts a gradual refresh.
        fault: what is wrong with it; empty if nothing is known to be.
        frame: what came out; None if nothing has.
        key: whether the frame depends on no other.
        place: of the frame in the order of display; None until it has come, or is known not to come.
    """

    number: int
    stamp: int | None
    entry: bool
    fault: str = ""
    frame: Frame | None = None
    key: bool = False
    place: int | None = None


class Prediction(Generic[Frame]):
    """Frames in the order of display, each whole or with its fault.

        for packet in stream:
            prediction.send(packet.pts, entry=packet.is_keyframe, damaged=packet.is_corrupt)
            for frame in decoder.decode(packet):
                prediction.come(frame, number=frame.opaque, stamp=frame.pts, key=frame.key_frame)
            yield from prediction.ready()
        prediction.end()
        yield from prediction.ready()

    Args:
        slots: whether every distance of time stamps stands for one frame, as in AVI, so that a larger one means that
            a frame is missing. Elsewhere missing frames are counted only where data are known to be damaged, because
            triggered cameras and phones have uneven time stamps.
    """

    def __init__(self, *, slots: bool = False) -> None:
        self.slots = slots
        self._sent = 0
        self._places = 0
        self._next_too = False  # whether the next packet shares the damage of this one
        self._undecided: dict[int, Sent[Frame]] = {}  # in the order of decoding
        self._shown: deque[Sent[Frame]] = deque()  # in the order of display
        self._decided: set[int] = set()
        self._fault = ""  # of all frames from the latest damage on
        self._refreshing = False
        self._key_place = -1  # of the key frame that ended the latest damage
        self._stamp: int | None = None
        self._steps: deque[int] = deque(maxlen=STEPS)
        self._since = STEPS  # whole frames since the latest fault
        self._counted: deque[tuple[int, int]] = deque(maxlen=STEPS)  # time stamps between which missing were counted
        self._unstamped = 0  # frames since the latest time stamp

    def send(self, stamp: int | None, *, entry: bool, damaged: bool = False) -> int:
        """Note that the decoder gets a packet.

        Args:
            stamp: when its frame is displayed; None if unknown.
            entry: whether a decoder can begin here.
            damaged: whether the container marks the packet as damaged. Such a mark can stand on the packet before the
                damaged one, because the end of a packet is found when the next one begins; so both count as damaged.

        Returns:
            the packet's number.
        """
        number = self._sent
        if number == 0 and not entry:
            self._fault = BEGINNING
        self._sent += 1
        packet: Sent[Frame] = Sent(number, stamp, entry, fault=DAMAGED if damaged or self._next_too else "")
        self._next_too = damaged
        self._undecided[number] = packet
        return number

    def fail(self) -> None:
        """Note that the decoder has complained about the latest packet."""
        if self._undecided:
            latest = next(reversed(self._undecided.values()))
            latest.fault = latest.fault or DAMAGED

    def come(self, frame: Frame, *, number: int | None, stamp: int | None, key: bool, fault: str = "") -> None:
        """Note that a frame has come out of the decoder.

        Args:
            frame: what is handed on.
            number: of its packet; None for a frame that the decoder has invented for one that is missing.
            stamp: when it is displayed.
            key: whether it depends on no other frame.
            fault: what is wrong with it, as far as the decoder tells.
        """
        if number is None:
            for waiting in self._undecided.values():
                if waiting.place is None:
                    waiting.fault = waiting.fault or DAMAGED
            self._show(Sent(-1, stamp, False, fault=LOST))
            return
        packet = self._undecided.get(number)
        late = packet is None or packet.place is not None  # the packet was given up, or has had a frame
        if packet is None or late:
            packet = Sent(number, stamp, False, fault=self._fault)
        self._give_up(number, packet.stamp if stamp is None else stamp)
        packet.frame, packet.key, packet.fault = frame, key, fault or packet.fault
        self._show(packet)
        if late:
            self._decided.add(number)
            if fault:
                self._fault = PREDICTED

    def end(self) -> None:
        """Note that nothing more will come."""
        for packet in list(self._undecided.values()):
            if packet.place is None:
                self._show(packet)

    def ready(self) -> Iterator[Frame | str]:
        """The frames that are known to be whole, and the faults of those that are not, in the order of display."""
        while len(self._undecided) > WAITING:
            oldest = next(iter(self._undecided.values()))
            if oldest.place is None:
                self._show(oldest)
            self._decide()
        self._decide()
        while self._shown and (self._shown[0].number < 0 or self._shown[0].number in self._decided):
            packet = self._shown.popleft()
            self._decided.discard(packet.number)
            if packet.frame is None and not packet.fault:
                continue  # a packet that shows nothing of its own
            if packet.fault and packet.stamp is not None and self._is_counted(packet.stamp):
                continue
            yield from self._missing(packet)
            if packet.fault or packet.frame is None:
                yield packet.fault
            else:
                yield packet.frame

    def _show(self, packet: Sent[Frame]) -> None:
        packet.place = self._places
        self._places += 1
        self._shown.append(packet)

    def _give_up(self, number: int, stamp: int | None) -> None:
        """Place the packets whose frames should have come before this one; one without a stamp is a mere fragment."""
        if stamp is None:
            return
        late = [
            packet
            for packet in self._undecided.values()
            if packet.place is None and packet.number < number and (packet.stamp is None or packet.stamp < stamp)
        ]
        for packet in sorted(late, key=lambda packet: packet.stamp or 0):
            self._show(packet)

    def _decide(self) -> None:
        """Say of each packet whose predecessors are all known whether its frame is whole."""
        while self._undecided:
            packet = next(iter(self._undecided.values()))
            if packet.place is None:
                return
            del self._undecided[packet.number]
            self._decided.add(packet.number)
            self._judge(packet, packet.place)

    def _judge(self, packet: Sent[Frame], place: int) -> None:
        if packet.fault:
            self._fault, self._refreshing, self._key_place = PREDICTED, False, -1
            if packet.frame is None and packet.fault == DAMAGED:
                packet.fault = LOST
        elif not self._fault:
            if place < self._key_place:  # displayed before a key frame, and perhaps built on what was before it
                packet.fault = PREDICTED
        elif packet.frame is not None and packet.key:
            self._fault, self._key_place = "", place
        elif packet.entry and self._refreshing:  # a gradual refresh has run from one entry to the next
            self._fault = ""
        else:
            self._refreshing = self._refreshing or packet.entry
            packet.fault = self._fault

    def _missing(self, packet: Sent[Frame]) -> Iterator[str]:
        """The faults of frames that are missing before this one, counted by time stamps."""
        self._since = 0 if packet.fault else self._since + 1
        if packet.stamp is None:
            self._unstamped += 1
            return
        step = 0 if self._stamp is None else packet.stamp - self._stamp
        usual = 1 if self.slots else median(self._steps) if len(self._steps) == STEPS else 0
        even = self.slots or (usual > 0 and all(abs(one - usual) <= 0.1 * usual for one in self._steps))
        if (self._since < STEPS or self.slots) and even and step > 1.5 * usual:
            self._counted.append((packet.stamp - step, packet.stamp))
            yield from [LOST] * min(round(step / usual) - 1 - self._unstamped, MOST_MISSING)
        elif step > 0:
            self._steps.append(step)
        self._stamp = packet.stamp
        self._unstamped = 0

    def _is_counted(self, stamp: int) -> bool:
        """Whether a frame of this time stamp has been reported as missing."""
        return any(before < stamp < after for before, after in self._counted)
