"""List and export what a line has kept: frames, overlays and decisions of rejects and of a sample of the good parts.

    spade-edge evidence list   --config line.toml --shift 06:00-14:00
    spade-edge evidence list   --folder evidence --since "2026-11-28 13:30" --verdict defect --json
    spade-edge evidence export --config line.toml --shift 22:00-06:00 --date 2026-11-27 --output night.tar

Times are local times of this machine, unless they end with their offset, as in 2026-11-28T13:30:00+00:00. A shift that
ends before it begins, such as 22:00-06:00, ends on the day after its date. The service may run meanwhile; an entry that
it removes to stay within its budget is left out.

The exported file is a plain tar: the entries as they were kept, index.csv for a spreadsheet, and index.html, which
shows the pictures in a browser without a network. The same entries give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from spade_edge.runtime import UsageError
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD
from spade_edge.tools.cli.arguments import add_json, path, positive, shown

if TYPE_CHECKING:
    from spade_edge.tools.line.evidence.entry import Entry

VERDICTS = (GOOD, DEFECT, CANNOT_JUDGE, "late")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="list entries, the newest first")
    _add_choice(listing)
    listing.add_argument("--json", action="store_true", help="print one JSON object for each entry instead of text")
    listing.set_defaults(run_verb=_list)
    export = verbs.add_parser("export", help="write entries to one file")
    _add_choice(export)
    export.add_argument("--output", type=path, required=True, metavar="FILE", help="the file, by convention ….tar")
    add_json(export)
    export.set_defaults(run_verb=_export)


def run(chosen: argparse.Namespace) -> int:
    return int(chosen.run_verb(chosen))


def _add_choice(parser: argparse.ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--folder", type=path, metavar="DIR", help="folder of the evidence")
    place.add_argument("--config", type=path, metavar="FILE", help="configuration of the line, which names the folder")
    parser.add_argument("--since", type=_moment, metavar="TIME", help="the earliest time of a trigger")
    parser.add_argument("--until", type=_moment, metavar="TIME", help="the time before which triggers came")
    parser.add_argument("--shift", type=_shift, metavar="FROM-TO", help="instead: a span of a day, such as 06:00-14:00")
    parser.add_argument("--date", type=_date, metavar="DATE", help="the day on which the shift begins (today)")
    parser.add_argument(
        "--camera", action="append", default=[], metavar="NAME", help="only this camera; may be given several times"
    )
    parser.add_argument(
        "--verdict",
        action="append",
        default=[],
        choices=VERDICTS,
        help="only this verdict; may be given several times",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the newest N")


def _list(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.text.evidence import entry_as_json, entry_line, nothing

    folder = _folder(chosen)
    found = 0
    for found, entry in enumerate(_chosen(folder, chosen), start=1):  # noqa: B007
        print(json.dumps(entry_as_json(entry)) if chosen.json else entry_line(entry))
    if not found:
        print(nothing(folder), file=sys.stderr)
    return 0


def _export(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.text.evidence import exported_as_json, exported_sentence
    from spade_edge.tools.line.evidence.export import export

    folder = _folder(chosen)
    exported = export(_chosen(folder, chosen), folder=folder, output=chosen.output)
    print(json.dumps(exported_as_json(exported)) if chosen.json else exported_sentence(exported))
    return 0


def _folder(chosen: argparse.Namespace) -> Path:
    if chosen.folder is not None:
        return Path(chosen.folder)
    from spade_edge.tools.line.configuration.reader import read

    evidence = read(chosen.config).evidence
    if evidence is None:
        raise UsageError(f"{chosen.config}: expected a table [evidence], found none; this line keeps no evidence")
    return evidence.folder


def _chosen(folder: Path, chosen: argparse.Namespace) -> Iterator[Entry]:
    from spade_edge.tools.line.evidence.entry import entries

    since, until = chosen.since, chosen.until
    if chosen.date is not None and chosen.shift is None:
        raise UsageError("expected --date with --shift, found no shift; or use --since and --until")
    if chosen.shift is not None:
        if since is not None or until is not None:
            raise UsageError("expected --shift without --since and --until, found both; leave out one of them")
        since, until = _span(chosen.shift, chosen.date or datetime.now().astimezone().date())
    if since is not None and until is not None and since >= until:
        raise UsageError("expected --since before --until, found it later")
    return entries(folder, since=since, until=until, cameras=chosen.camera, verdicts=chosen.verdict, limit=chosen.limit)


def _span(shift: tuple[time, time], day: date) -> tuple[datetime, datetime]:
    """The beginning and the end of a shift that begins on a day."""
    begin, end = shift
    try:
        last = day if end > begin else day + timedelta(days=1)
        return datetime.combine(day, begin).astimezone(), datetime.combine(last, end).astimezone()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"expected a --date of our times, found {day}") from None


def _moment(text: str) -> datetime:
    """A time; without an offset it is local."""
    expected = "expected a time such as '2026-11-28 13:30'"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]{5,15}([+-][0-9]{2}:[0-9]{2}|Z)?)?", text):
        raise argparse.ArgumentTypeError(f"{expected}, found {shown(text)}")
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{expected}, found {shown(text)}") from None


def _date(text: str) -> date:
    """A day."""
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date such as 2026-11-28, found {shown(text)}") from None


def _shift(text: str) -> tuple[time, time]:
    """The times of day at which a shift begins and ends."""
    try:
        if not re.fullmatch(r"[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}", text):
            raise ValueError
        begin, end = map(time.fromisoformat, text.split("-"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a shift such as 06:00-14:00, found {shown(text)}") from None
    return begin, end
