"""The options of a build as JSON values, so that they can be hashed and sent to a worker."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from spade_edge.galleries import BuildOptions, Views
from spade_edge.runtime.matching.config import Matching

TABLE = ".csv"  # groups that are not a rule, but a file


def to_json(options: BuildOptions) -> dict[str, Any]:
    """Every option; paths as they are."""
    value = asdict(options)
    value["views"]["mask"] = None if options.views.mask is None else str(options.views.mask)
    return value


def from_json(value: dict[str, Any]) -> BuildOptions:
    """The options that `to_json` was given."""
    matching, views = value["matching"], value["views"]
    return BuildOptions(
        **value
        | {
            "matching": None if matching is None else Matching(**matching),
            "views": Views(
                **views
                | {
                    "tile": None if views["tile"] is None else tuple(views["tile"]),
                    "regions": tuple(tuple(box) for box in views["regions"]),
                    "mask": None if views["mask"] is None else Path(views["mask"]),
                }
            ),
            "exclude": tuple(value["exclude"]),
        }
    )


def files_of(options: BuildOptions) -> dict[str, Path]:
    """The files that options name: "mask" and "groups"."""
    files = {} if options.views.mask is None else {"mask": options.views.mask}
    if options.groups is not None and options.groups.lower().endswith(TABLE):
        files["groups"] = Path(options.groups)
    return files


def with_files(options: BuildOptions, files: dict[str, Path]) -> BuildOptions:
    """The options with their files elsewhere."""
    if "mask" in files:
        options = replace(options, views=replace(options.views, mask=files["mask"]))
    if "groups" in files:
        options = replace(options, groups=str(files["groups"]))
    return options
