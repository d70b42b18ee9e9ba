"""`fleet build`: the bundles of a plan."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.cli.arguments import add_json, path, positive

if TYPE_CHECKING:
    from spade_edge.tools.fleet.executors import Executor
    from spade_edge.tools.fleet.plan import FleetPlan

LOCAL, RAY = "local", "ray"
PARTS = ("encoding parts", "joining parts")  # labels of loops that do not go over images


def add_arguments(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb."""
    verb = verbs.add_parser("build", help="build what changed of the bundles of a plan")
    verb.add_argument("plan", type=path, metavar="FILE", help="the plan, such as fleet.toml")
    verb.add_argument(
        "--executor",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="local: processes on this machine; ray: the nodes of a Ray cluster (local)",
    )
    verb.add_argument(
        "--ray-address",
        metavar="auto|HOST:PORT",
        help="the cluster; auto for the one that this machine belongs to (default: one is started on this machine)",
    )
    verb.add_argument(
        "--workers", type=positive, metavar="N", help="bundles at a time (local: one for two cores; ray: as they fit)"
    )
    verb.add_argument("--only", nargs="+", default=(), metavar="NAME", help="build only these bundles of the plan")
    verb.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_json(verb)
    verb.set_defaults(run_verb=run)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.text.fleet_build import as_json, line, table
    from spade_edge.tools.fleet.building import FAILED, build_fleet, survey

    if chosen.ray_address is not None and chosen.executor != RAY:
        raise UsageError("expected --executor ray with --ray-address, found local; add --executor ray")
    plan = _plan(chosen.plan)
    if chosen.dry_run:
        rows = survey(plan, only=chosen.only, progress=_progress)
    else:
        rows = build_fleet(
            plan,
            partial(_executor, chosen),
            only=chosen.only,
            report=lambda row: print(line(row), file=sys.stderr, flush=True),
            progress=_progress,
        )
    if chosen.json:
        for row in rows:
            print(json.dumps(as_json(row)))
    else:
        print("\n".join(table(rows)))
    return DataError.exit_code if any(row.state == FAILED for row in rows) else 0


def _progress(items: Iterable[Any], label: str) -> Iterable[Any]:
    from spade_edge.tools.cli.progress_bar import progress

    return progress(items, label, "part" if label in PARTS else "image")


def _executor(chosen: argparse.Namespace) -> Executor:
    if chosen.executor == RAY:
        from spade_edge.tools.fleet.executors.ray_cluster import RayCluster

        return RayCluster(chosen.ray_address, workers=chosen.workers)
    from spade_edge.tools.fleet.executors import Processes

    return Processes(chosen.workers)


def _plan(file: Path) -> FleetPlan:
    """Read the plan; of several mistakes, each is a line."""
    from spade_edge.tools.cli.fleet.build_options import BuildOptionsReader
    from spade_edge.tools.fleet.plan_file import PlanError, read_plan

    try:
        return read_plan(file, BuildOptionsReader())
    except PlanError as problem:
        *others, last = problem.mistakes
        for mistake in others:
            print(f"{file}: {mistake}", file=sys.stderr)
        raise UsageError(f"{file}: {last}") from None
