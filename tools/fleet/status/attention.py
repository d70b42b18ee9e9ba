"""Which lines need somebody, and why, in one sentence each; and all lines beside each other."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from spade_edge.tools.fleet.status.report import CameraReport, LineReport, Skipped
from spade_edge.tools.line.state import WELL

STALE = 300.0  # seconds
AHEAD = 60.0  # seconds that the clock of a device may be ahead
ENOUGH = 200  # parts after which a reject rate says something
SISTERS = 3  # other cameras on the same product by which one is judged
FAR = 4.0  # standard deviations from the sisters
LEAST_FAR = 0.005  # of all parts: less is never far
MOST_LATE = 0.01  # of all parts
MOST_SKIPPED = 100  # problems that are kept; the others are counted


@dataclass(frozen=True, slots=True)
class Row:
    """A camera of a line, or a line without cameras.

    Attributes:
        line: the report; None for a line that is expected and has not reported.
        name: of the line.
        camera: of the line; None if nothing is known of its cameras.
        seconds: since it last said something; None if it never did.
        label: what the bundle is called in the registry; empty if it is not known.
        concerns: sentences, the gravest first; none if all is well.
        weight: of the gravest, 0 first.
    """

    line: LineReport | None
    name: str
    camera: CameraReport | None
    seconds: float | None
    label: str = ""
    concerns: tuple[str, ...] = ()
    weight: int = 99

    def to_json(self) -> dict[str, Any]:
        """As `spade-edge fleet status --json` prints it."""
        camera, line = self.camera, self.line
        said: dict[str, Any] = {"line": self.name, "camera": None if camera is None else camera.name}
        if camera is not None:
            said |= {
                "recipe": camera.recipe,
                "bundle": camera.bundle,
                "label": self.label,
                "state": camera.state,
                "good": camera.good,
                "defect": camera.defect,
                "cannot_judge": camera.cannot_judge,
                "late": camera.late,
                "rejected": camera.rejected,
                "reject_rate": camera.reject_rate,
                "p99": camera.p99,
                "drift": camera.drift,
                "refused": camera.refused,
                "self_test": camera.self_test,
                "pulled": None if camera.pulled is None else camera.pulled.to_json(),
            }
        software = "" if line is None else line.software
        return said | {"software": software, "seconds": self.seconds, "concerns": list(self.concerns)}


@dataclass(frozen=True)
class Expected:
    """What ought to be there.

    Attributes:
        lines: names of lines.
        recipes: names of products.
        promoted: name of a product to the first 16 digits of the bundle that its channel points at.
        labels: the same digits to what a bundle is called.
        channel: whose bundles these are.
    """

    lines: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    promoted: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None
    channel: str = ""


@dataclass(frozen=True)
class Status:
    """A plant at one moment.

    Attributes:
        rows: those that need attention first, the gravest at the top; then by line and camera.
        general: sentences that belong to no line.
        skipped: problems with reports, the first `MOST_SKIPPED` of them.
        left_out: how many reports were skipped.
        lines: how many lines have reported.
        at: when, in seconds since 1970.
    """

    rows: tuple[Row, ...]
    general: tuple[str, ...]
    skipped: tuple[str, ...]
    left_out: int
    lines: int
    at: float

    @property
    def wanting(self) -> int:
        """How many rows need attention."""
        return sum(1 for row in self.rows if row.concerns)

    @property
    def attention(self) -> bool:
        """Whether anything needs it."""
        return bool(self.wanting or self.general or self.left_out)


def status(
    reports: Iterable[LineReport | Skipped], *, now: float, stale: float = STALE, expected: Expected | None = None
) -> Status:
    """Compare the lines with each other, with the clock, and with what is expected.

    Args:
        reports: of lines.
        now: seconds since 1970.
        stale: seconds without a report after which a line is silent.
        expected: what ought to be there; None for whatever reports.
    """
    wanted = expected or Expected()
    lines: list[LineReport] = []
    skipped: list[str] = []
    left_out = 0
    for report in reports:
        if isinstance(report, LineReport):
            lines.append(report)
            continue
        left_out += 1
        if len(skipped) < MOST_SKIPPED:
            skipped.append(report.problem)
    names = Counter(report.line for report in lines)
    sisters = _Sisters(report for report in lines if not report.offline and now - report.at <= stale)
    rows: list[Row] = []
    for report in lines:
        own = _of_line(report, now=now, stale=stale, twice=names[report.line] > 1)
        seconds = None if report.offline else max(0.0, now - report.at)
        if not report.cameras:
            rows.append(_row(report, None, seconds, own))
        for place, camera in enumerate(report.cameras):
            # What is wrong with the whole line is said once.
            concerns = [*(own if place == 0 else []), *_of_camera(report, camera, sisters=sisters, wanted=wanted)]
            label = (wanted.labels or {}).get(camera.bundle, "")
            rows.append(_row(report, camera, seconds, concerns, label=label))
    for name in dict.fromkeys(wanted.lines):
        if name not in names:
            rows.append(Row(None, name, None, None, concerns=(f"Line {name} has never reported.",), weight=0))
    rows.sort(key=lambda row: (row.weight, row.name, "" if row.camera is None else row.camera.name))
    judged = {camera.recipe for report in lines for camera in report.cameras}
    general = [f"No line judges {name}." for name in dict.fromkeys(wanted.recipes) if name not in judged]
    if not rows and not left_out:
        general.append("No line has reported: is this the folder, or the topic, that the lines write to?")
    return Status(tuple(rows), tuple(general), tuple(skipped), left_out, len(lines), now)


def _row(
    report: LineReport,
    camera: CameraReport | None,
    seconds: float | None,
    concerns: list[tuple[int, str]],
    *,
    label: str = "",
) -> Row:
    ordered = sorted(concerns, key=lambda one: one[0])
    weight = ordered[0][0] if ordered else 99
    return Row(report, report.line, camera, seconds, label, tuple(sentence for _, sentence in ordered), weight)


def _of_line(report: LineReport, *, now: float, stale: float, twice: bool) -> list[tuple[int, str]]:
    """What is wrong with a line as a whole, each with its weight."""
    found: list[tuple[int, str]] = []
    name = f"Line {report.line}"
    if report.offline:
        found.append((0, f"{name} is offline, says the broker."))
    elif now - report.at > stale:
        found.append((0, f"{name} has been silent for {ago(now - report.at)}."))
    elif report.at - now > AHEAD:
        found.append((7, f"{name} has a clock that is {ago(report.at - now)} ahead."))
    if twice:
        found.append((1, f"{name} is what more than one device calls itself; one report is in {report.place}."))
    if report.news:
        found.append((2, f"{name} says: {_clause(report.news)}."))
    found += [(6, f"{name} has trouble with output {_clause(trouble)}.") for trouble in report.troubles]
    return found


def _of_camera(
    report: LineReport, camera: CameraReport, *, sisters: _Sisters, wanted: Expected
) -> list[tuple[int, str]]:
    """What is wrong with a camera and its product, each with its weight."""
    found: list[tuple[int, str]] = []
    name = f"Camera {camera.name} of line {report.line}"
    if camera.state != WELL:
        found.append((1, f"{name} is {camera.state}: {_clause(camera.words)}."))
    if camera.refused:
        found.append((3, f"{name} refuses the bundle on its disk: {_clause(camera.refused)}."))
    pulled = camera.pulled
    if pulled is not None and not pulled.accepted:
        found.append((3, f"{name} did not take {pulled.name}: {_clause(pulled.reason)}."))
    promoted = (wanted.promoted or {}).get(camera.recipe)
    if promoted is not None:
        if camera.bundle != promoted:
            found.append((4, f"{name} judges {camera.recipe} by {camera.bundle}, and {wanted.channel} is {promoted}."))
    elif other := sisters.other(camera):
        found.append((4, f"{name} judges {camera.recipe} by {camera.bundle}, and {other}."))
    if far := sisters.far(camera):
        found.append((5, f"{name} rejects {far}."))
    if camera.parts >= ENOUGH and camera.late > MOST_LATE * camera.parts:
        found.append((5, f"{name} is late with {share(camera.late / camera.parts)} of its parts."))
    if camera.drift:
        found.append((6, f"{name} sees parts that look different: {_clause(camera.drift)}."))
    return found


class _Sisters:
    """The cameras that judge the same product, of all lines that are not silent."""

    def __init__(self, reports: Iterable[LineReport]) -> None:
        self._bundles: defaultdict[str, Counter[str]] = defaultdict(Counter)
        rates: defaultdict[str, list[float]] = defaultdict(list)
        for report in reports:
            for camera in report.cameras:
                self._bundles[camera.recipe][camera.bundle] += 1
                if camera.parts >= ENOUGH:
                    rates[camera.recipe].append(camera.rejected / camera.parts)
        self._usual = {recipe: _usual(found) for recipe, found in rates.items() if len(found) > SISTERS}

    def other(self, camera: CameraReport) -> str:
        """What most others judge the same product by; empty if that is the same bundle, or no bundle has more."""
        known = self._bundles.get(camera.recipe)
        if not known:
            return ""
        (most, count), *_ = known.most_common(1)
        if camera.bundle == most or known[camera.bundle] >= count:
            return ""
        return f"{count} of {known.total()} cameras on it judge by {most}"

    def far(self, camera: CameraReport) -> str:
        """How its reject rate differs from that of its sisters; empty if it does not differ much."""
        usual = self._usual.get(camera.recipe)
        if usual is None or camera.parts < ENOUGH:
            return ""
        middle, spread = usual
        rate = camera.rejected / camera.parts
        chance = math.sqrt(max(middle, 1 / camera.parts) * (1 - min(middle, 0.999)) / camera.parts)
        if abs(rate - middle) <= max(LEAST_FAR, FAR * math.hypot(spread, chance)):
            return ""
        return f"{share(rate)} of its parts, and its sisters on {camera.recipe} reject {share(middle)}"


def _usual(rates: list[float]) -> tuple[float, float]:
    """The middle of reject rates and their standard deviation, both by medians, so that one odd line moves neither."""
    middle = median(rates)
    return middle, 1.4826 * median(abs(rate - middle) for rate in rates)


def share(rate: float) -> str:
    """A share of parts, in percent."""
    return f"{100 * rate:.3g} %"


def ago(seconds: float) -> str:
    """A time, as people say it."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _clause(words: str) -> str:
    """Words as the end of a sentence."""
    return words.rstrip(".") or "it does not say why"
