"""`fleet pull`: a device takes a bundle from a registry, if it proves itself."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spade_edge.runtime.errors import DataError, SpadeError, UsageError
from spade_edge.tools.cli.arguments import (
    add_bundle,
    add_json,
    add_provider,
    add_require_signature,
    add_threads,
    natural,
    path,
    provider,
    real,
    shown,
)
from spade_edge.tools.cli.fleet.pause import pause
from spade_edge.tools.cli.fleet.registry_arguments import add_registry, keys, reference, registry

if TYPE_CHECKING:
    from spade_edge.tools.fleet.rollout import Device, Recent, Rollout, Rules
    from spade_edge.tools.line.configuration.options import LineConfiguration

LONGEST = 600_000.0  # milliseconds of a frame


def add_arguments(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb."""
    verb = verbs.add_parser("pull", help="take a bundle from a registry, if it proves itself on this device")
    verb.add_argument(
        "reference",
        type=reference,
        metavar="NAME:TAG|NAME@DIGEST",
        help="the version or channel, such as bolt:production",
    )
    add_bundle(verb)
    add_registry(verb)
    add_require_signature(verb, what="take the bundle")
    where = verb.add_mutually_exclusive_group()
    where.add_argument(
        "--evidence", type=path, metavar="DIR", help="frames that the line has kept, on which both bundles are compared"
    )
    where.add_argument(
        "--config",
        type=path,
        metavar="FILE",
        help="configuration of the line: names the evidence, the cameras of this bundle and their deadline, the keys, "
        "and what runs the network",
    )
    verb.add_argument("--camera", action="append", default=[], metavar="NAME", help="only frames of this camera")
    verb.add_argument("--shadow", type=natural, default=100, metavar="N", help="compare on the newest N frames (100)")
    verb.add_argument(
        "--most-changes",
        type=_share,
        default=0.02,
        metavar="SHARE",
        help="refuse a bundle that rejects more of the frames that are good by the bundle in force (2%%)",
    )
    verb.add_argument(
        "--deadline", type=_milliseconds, metavar="MS", help="refuse a bundle with which half of the frames take longer"
    )
    verb.add_argument(
        "--even-so", action="store_true", help="take a bundle that lacks images which this device was taught"
    )
    verb.add_argument("--report", type=path, metavar="FILE", help="write what came of it to a file, as JSON")
    verb.add_argument(
        "--watch",
        type=pause,
        metavar="SECONDS",
        help="go on, and look every so often whether the channel points at another bundle",
    )
    add_threads(verb)
    add_provider(verb)
    add_json(verb)
    verb.set_defaults(run_verb=run)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.fleet.rollout.report import check_report

    if chosen.report is not None:
        check_report(chosen.report)
    if not (chosen.reference.tag or chosen.reference.digest):
        raise UsageError(f"expected NAME:TAG or NAME@DIGEST, found '{chosen.reference}'")
    if chosen.camera and chosen.evidence is None and chosen.config is None:
        raise UsageError("expected --camera with --evidence or --config, found neither; add one, or leave it out")
    if chosen.watch is None:
        rollout = _pull(chosen)
        _print(chosen, rollout)
        return 0 if rollout.accepted else DataError.exit_code
    if not chosen.reference.tag:
        raise UsageError("expected NAME:CHANNEL with --watch, found a digest, which never points at anything else")
    return _watch(chosen)


def _watch(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.fleet.rollout import watch

    def pulls() -> Rollout:
        rollout = _pull(chosen)
        if chosen.json:
            _print(chosen, rollout)
        return rollout

    def wait(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    stream = sys.stderr if chosen.json else sys.stdout
    watch(
        registry(chosen),
        chosen.reference,
        chosen.bundle,
        pulls=pulls,
        every=chosen.watch,
        wait=wait,
        tell=lambda line: print(line, file=stream, flush=True),
    )
    return 0


def _pull(chosen: argparse.Namespace) -> Rollout:
    """Pull once. The report tells what came of it; a pull that is ended from outside leaves the former one."""
    from spade_edge.tools.fleet.rollout import Rollout, pull
    from spade_edge.tools.fleet.rollout.pulling import digest_in_force
    from spade_edge.tools.fleet.rollout.report import now, write_report

    rollout = Rollout(name=str(chosen.reference), registry="", at=now())
    try:
        where = registry(chosen)
        rollout = replace(rollout, registry=where.address)
        rules, device, recent = _means(chosen)
        rollout = pull(
            where,
            chosen.reference,
            chosen.bundle,
            rules=rules,
            device=device,
            recent=recent,
            tell=lambda line: print(f"fetching {line}", file=sys.stderr, flush=True),
        )
    except SpadeError as problem:
        rollout = replace(rollout, reason=str(problem), in_force=digest_in_force(chosen.bundle), at=now())
        if chosen.report is not None:
            with suppress(DataError):  # the first fault is the one to be told
                write_report(chosen.report, rollout)
        raise
    if chosen.report is not None:
        write_report(chosen.report, rollout)
    return rollout


def _print(chosen: argparse.Namespace, rollout: Rollout) -> None:
    if chosen.json:
        print(json.dumps(rollout.to_json()), flush=True)
    elif rollout.accepted:
        print(rollout.sentence())
    else:
        print(f"spade-edge: {rollout.sentence()}", file=sys.stderr)


def _means(chosen: argparse.Namespace) -> tuple[Rules, Device, Recent | None]:
    """By what a bundle is judged: as the command line says, and the line's configuration where it says nothing."""
    from spade_edge.tools.fleet.rollout import Device, Recent, Rules

    rules = Rules(
        keys=keys(chosen), most_changes=chosen.most_changes, deadline_ms=chosen.deadline, even_so=chosen.even_so
    )
    device = Device(provider=provider(chosen), allow_fallback=chosen.allow_fallback, threads=chosen.threads)
    recent = None
    if chosen.evidence is not None:
        recent = Recent(folder=chosen.evidence, cameras=tuple(chosen.camera), most=chosen.shadow)
    if chosen.config is not None:
        rules, device, recent = _as_configured(chosen, rules, device)
    return rules, device, recent if chosen.shadow else None


def _as_configured(chosen: argparse.Namespace, rules: Rules, device: Device) -> tuple[Rules, Device, Recent | None]:
    """What the configuration of the line adds.

    Raises:
        UsageError: it cannot be read, or does not have this bundle.
    """
    from spade_edge.runtime import Provider
    from spade_edge.tools.fleet.rollout import Recent
    from spade_edge.tools.line.configuration.reader import read
    from spade_edge.tools.signing.signing import read_keys

    line = read(chosen.config)
    name = _recipe(line, chosen.bundle, chosen.config)
    cameras = {one: options for one, options in line.cameras.items() if options.recipe == name}
    for camera in chosen.camera:
        if camera not in cameras:
            known = ", ".join(cameras) or "none"
            raise UsageError(
                f"{chosen.config}: expected --camera among those of the recipe {name} ({known}), found {shown(camera)}"
            )
    if not rules.keys and line.line.require_signature:
        rules = replace(rules, keys=read_keys(line.line.require_signature))
    if rules.deadline_ms is None and cameras:
        rules = replace(rules, deadline_ms=float(min(options.deadline_ms for options in cameras.values())))
    if not _is_given(chosen):
        device = replace(device, provider=Provider(line.line.provider), threads=chosen.threads or line.line.threads)
    device = replace(device, even_so=line.recipes[name].even_so)
    recent = None
    if line.evidence is not None and line.evidence.folder.is_dir():
        recent = Recent(
            folder=line.evidence.folder, cameras=tuple(chosen.camera), recipe=name, most=max(1, chosen.shadow)
        )
    return rules, device, recent


def _recipe(line: LineConfiguration, bundle: Path, source: Path) -> str:
    """The product that a bundle judges."""
    for name, recipe in line.recipes.items():
        if recipe.bundle.resolve() == bundle.resolve():
            return name
    raise UsageError(
        f"{source}: expected a recipe with the bundle {bundle}, found none; give the one that the line uses"
    )


def _is_given(chosen: argparse.Namespace) -> bool:
    """Whether the command line says what runs the network."""
    return bool(chosen.provider != "cpu" or chosen.device is not None)


def _share(text: str) -> float:
    """A share from 0 to 1, as a number or in percent."""
    expected = "a share such as 0.02 or 2%"
    percent = text.endswith("%")
    value = real(text[:-1].rstrip(" ") if percent else text, expected=expected) / (100 if percent else 1)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected {expected}, found {shown(text)}")
    return value


def _milliseconds(text: str) -> float:
    value = real(text, expected="milliseconds")
    if not 0 < value <= LONGEST:
        raise argparse.ArgumentTypeError(
            f"expected more than 0 and at most {LONGEST:.0f} milliseconds, found {shown(text)}"
        )
    return value
