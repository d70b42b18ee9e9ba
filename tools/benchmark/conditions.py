"""Heat and clock beside a measurement, without which its figures cannot be compared with others."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from spade_edge.tools.hardware.clock import current_clocks
from spade_edge.tools.hardware.heat import Throttling, zones
from spade_edge.tools.hardware.host import Host


@dataclass(frozen=True)
class Conditions:
    """Heat and clock of a machine during a measurement. None stands for what the machine does not say.

    Attributes:
        celsius_at_start, celsius_at_end: highest temperature of all sensors.
        megahertz: the clock of the fastest core right after a block of frames, median of all blocks. Cores that have
            nothing to do are clocked down, so they say nothing.
        lowest_megahertz: the lowest of these.
        throttled: number of blocks during which the machine says that it was slowed down.
        blocks: number of blocks of frames.
    """

    celsius_at_start: float | None
    celsius_at_end: float | None
    megahertz: float | None
    lowest_megahertz: float | None
    throttled: int | None
    blocks: int


class Observer:
    """Looks at heat and clock between blocks of frames. Each look takes some milliseconds at most.

        look = Observer(Host.here())
        for block in blocks:
            ...
            look()
        look.conditions()

    Args:
        host: the machine; it is looked at right away.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._celsius = [self._hottest()]
        self._clocks: list[float] = []
        self._throttling = [Throttling.of(host)]

    def __call__(self) -> None:
        """Look at the machine, right after a block of frames."""
        clocks = current_clocks(self._host)
        if clocks:
            self._clocks.append(max(clocks) / 1000)
        self._celsius.append(self._hottest())
        self._throttling.append(Throttling.of(self._host))

    def conditions(self) -> Conditions:
        """What was seen."""
        looks = list(zip(self._throttling, self._throttling[1:], strict=False))
        slowed = [after.since(before) for before, after in looks if before is not None and after is not None]
        return Conditions(
            celsius_at_start=self._celsius[0],
            celsius_at_end=self._celsius[-1],
            megahertz=median(self._clocks) if self._clocks else None,
            lowest_megahertz=min(self._clocks, default=None),
            throttled=sum(slowed) if slowed else None,
            blocks=len(looks),
        )

    def _hottest(self) -> float | None:
        return max((zone.celsius for zone in zones(self._host)), default=None)
