"""What `spade-edge fleet status` prints for people."""

from __future__ import annotations

from spade_edge.tools.cli.text.columns import columns
from spade_edge.tools.fleet.status.attention import Row, Status, ago, share

MOST_SENTENCES = 100
MOST_ROWS = 200
HEAD = (
    "line", "camera", "product", "bundle", "good", "defect", "cannot judge", "late", "rejected", "p99 ms", "drift",
    "self-test", "pull", "software", "last seen",
)  # fmt: skip
TEXTS = {0, 1, 2, 3, 10, 11, 12, 13}  # columns that are aligned to the left
NUMBERS = set(range(len(HEAD))) - TEXTS


def lines(found: Status) -> list[str]:
    """What needs attention, in sentences; then a table."""
    said = [sentence for row in found.rows for sentence in row.concerns] + list(found.general)
    shown = said[:MOST_SENTENCES]
    if len(said) > MOST_SENTENCES:
        shown.append(f"… and {len(said) - MOST_SENTENCES:,} more; --json has all.")
    shown += [f"Skipped: {problem}" for problem in found.skipped[:MOST_SENTENCES]]
    if found.left_out > min(len(found.skipped), MOST_SENTENCES):
        shown.append(f"{found.left_out:,} reports were skipped.")
    if shown:
        shown.append("")
    shown.append(summary(found))
    if found.rows:
        shown += ["", *columns([HEAD, *(cells(row) for row in found.rows[:MOST_ROWS])], right=NUMBERS)]
    if len(found.rows) > MOST_ROWS:
        shown.append(f"… and {len(found.rows) - MOST_ROWS:,} more rows; --json has all.")
    return shown


def summary(found: Status) -> str:
    """The plant in one sentence."""
    lines = f"{found.lines:,} line{'' if found.lines == 1 else 's'}"
    if not found.attention:
        return f"{lines}: all is well."
    names = {row.name for row in found.rows if row.concerns}
    more = len(names) + len(found.general)
    return (
        f"{lines}: {more:,} need{'s' if more == 1 else ''} attention."
        if more
        else f"{lines}: some reports were skipped."
    )


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    camera, line = row.camera, row.line
    seen = "never" if line is None else "offline" if row.seconds is None else f"{ago(row.seconds)} ago"
    software = "" if line is None else line.software
    if camera is None:
        return (row.name, *("",) * 12, software, seen)
    rate = camera.reject_rate
    return (
        row.name,
        camera.name,
        camera.recipe,
        f"{camera.bundle} ({row.label})" if row.label else camera.bundle,
        *(f"{count:,}" for count in (camera.good, camera.defect, camera.cannot_judge, camera.late)),
        "" if rate is None else share(rate),
        "" if camera.p99 is None else f"{camera.p99:.0f}",
        "yes" if camera.drift else "no",
        camera.self_test or "?",
        "" if camera.pulled is None else "taken" if camera.pulled.accepted else "refused",
        software,
        seen,
    )
