"""`fleet status`: what every device reports."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spade_edge.runtime.errors import DataError, SpadeError, UsageError
from spade_edge.tools.cli.arguments import add_json, path, seconds, shown
from spade_edge.tools.cli.fleet.pause import pause
from spade_edge.tools.cli.fleet.registry_arguments import VARIABLE, add_registry, registry, tag
from spade_edge.tools.extras import packages_of

if TYPE_CHECKING:
    from spade_edge.tools.fleet.status import Status

CLEAR = "\033[2J\033[H"  # of a terminal


def add_arguments(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb."""
    verb = verbs.add_parser("status", help="what every device reports, those that need attention first")
    verb.add_argument(
        "source",
        type=_source,
        metavar="SOURCE",
        help="a folder with reports, or mqtt://HOST:PORT/TOPIC, with TLS mqtts://HOST:PORT/TOPIC",
    )
    verb.add_argument("--page", type=path, metavar="FILE.html", help="write a page, too")
    verb.add_argument(
        "--stale", type=seconds, default=300.0, metavar="SECONDS", help="after which a line is silent (300)"
    )
    verb.add_argument(
        "--expect",
        type=path,
        metavar="FILE",
        help="what ought to be there: fleet.toml for its products, or a list with the name of a line on each line",
    )
    verb.add_argument(
        "--check",
        action="store_true",
        help="exit code 3 if something needs attention, for a script that calls somebody",
    )
    verb.add_argument("--watch", type=pause, metavar="SECONDS", help="look again and again, until Ctrl-C")
    verb.add_argument(
        "--channel",
        type=tag,
        default="production",
        metavar="CHANNEL",
        help="with --registry: what lines ought to judge by (production)",
    )
    verb.add_argument(
        "--listen", type=seconds, default=5.0, metavar="SECONDS", help="how long to listen to a broker (5)"
    )
    verb.add_argument("--username", default="", metavar="NAME", help="of the user at the broker")
    verb.add_argument("--password-file", type=path, metavar="FILE", help="its first line is the password")
    verb.add_argument("--ca-file", type=path, metavar="FILE", help="certificates by which the broker is known")
    verb.add_argument("--cert-file", type=path, metavar="FILE", help="certificate of this client")
    verb.add_argument("--key-file", type=path, metavar="FILE", help="its private key")
    add_registry(verb)
    add_json(verb)
    verb.set_defaults(run_verb=run)


def _source(text: str) -> str:
    """A folder or a broker."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a folder with reports or a broker, found {shown(text)}")
    return text


def run(chosen: argparse.Namespace) -> int:
    if chosen.check and chosen.watch is not None:
        raise UsageError("expected --check or --watch, found both; leave one out")
    if chosen.page is not None:
        with packages_of("galleries", needed_by="--page"):
            from spade_edge.tools.report.page import check_page

        check_page(chosen.page)
    while True:
        try:
            found = _look(chosen)
            _tell(found, chosen)
        except SpadeError as problem:
            if chosen.watch is None or isinstance(problem, UsageError):
                raise
            print(problem, file=sys.stderr)  # a share or a broker that is away may come back
        if chosen.watch is None:
            return DataError.exit_code if chosen.check and found.attention else 0
        time.sleep(chosen.watch)


def _look(chosen: argparse.Namespace) -> Status:
    from dataclasses import replace

    from spade_edge.tools.fleet.status import Expected, LineReport, status

    expected = Expected()
    if chosen.expect is not None:
        from spade_edge.tools.fleet.status.expected import read_expected

        expected = read_expected(chosen.expect)
    reports = _reports(chosen)
    now = time.time()
    unknown: tuple[str, ...] = ()
    if chosen.registry or os.environ.get(VARIABLE):
        from spade_edge.tools.fleet.status.expected import promoted
        from spade_edge.tools.remote import UnreachableError

        reports = list(reports)  # before the registry is asked, which may take its time
        recipes = {camera.recipe for one in reports if isinstance(one, LineReport) for camera in one.cameras}
        where = registry(chosen)
        try:
            current, labels, problems = promoted(where, recipes, chosen.channel)
        except UnreachableError as problem:
            unknown = (f"It is not known what {chosen.channel} points at: {problem}.",)
        else:
            expected = replace(expected, promoted=current, labels=labels, channel=chosen.channel)
            for one in problems:
                print(one, file=sys.stderr)
    found = status(reports, now=now, stale=chosen.stale, expected=expected)
    return replace(found, general=(*found.general, *unknown))


def _reports(chosen: argparse.Namespace) -> Any:
    """The reports of a folder or a broker."""
    from spade_edge.tools.fleet.status.place import is_broker, place_of

    login = {"--username": chosen.username, "--password-file": chosen.password_file, "--ca-file": chosen.ca_file}
    login |= {"--cert-file": chosen.cert_file, "--key-file": chosen.key_file}
    if not is_broker(chosen.source):
        for option, value in login.items():
            if value:
                raise UsageError(f"expected {option} with a broker, found a folder; remove it")
        from spade_edge.tools.fleet.status import reports_in

        return reports_in(Path(chosen.source))
    with packages_of("mqtt", needed_by="a broker"):
        from spade_edge.tools.fleet.status.broker import Login, heard
    place = place_of(chosen.source)
    if bool(chosen.username) != bool(chosen.password_file):
        raise UsageError("expected --username and --password-file together, found one of them")
    if not place.tls and (chosen.ca_file or chosen.cert_file):
        raise UsageError("expected mqtts:// with --ca-file and --cert-file, found mqtt://")
    if bool(chosen.cert_file) != bool(chosen.key_file):
        raise UsageError("expected --cert-file and --key-file together, found one of them")
    login_of = Login(chosen.username, chosen.password_file, chosen.ca_file, chosen.cert_file, chosen.key_file)
    return heard(place, login_of, seconds=chosen.listen)


def _tell(found: Status, chosen: argparse.Namespace) -> None:
    from spade_edge.tools.cli.text.fleet_status import HEAD, TEXTS, cells, lines, summary

    if chosen.json:
        for row in found.rows:
            print(json.dumps(row.to_json()))
        for sentence in (*found.general, *found.skipped):
            print(sentence, file=sys.stderr)
    else:
        if chosen.watch is not None and sys.stdout.isatty():
            print(CLEAR, end="")
        print("\n".join(lines(found)), flush=True)
    if chosen.page is not None:
        from spade_edge.tools.fleet.status.page import status_page
        from spade_edge.tools.report.page import write

        page = status_page(found, summary=summary(found), head=HEAD, rows=map(cells, found.rows), texts=TEXTS)
        write(chosen.page, page)
