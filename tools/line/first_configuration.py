"""Writes a first configuration for the cameras and bundles that are found."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.tools.doctor.cameras import connected
from spade_edge.tools.doctor.packages import Packages
from spade_edge.tools.hardware.host import Host
from spade_edge.tools.line.configuration.description import MOST, Option, options_of
from spade_edge.tools.line.configuration.options import CameraOptions, RecipeOptions
from spade_edge.tools.line.configuration.source import goes_on
from spade_edge.tools.line.configuration.template import CameraFound, template
from spade_edge.tools.line.configuration.values import UnfitError, shown, understood
from spade_edge.tools.output import creating
from spade_edge.tools.sources.source import GENICAM, WATCH

SUFFIX = ".spade"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: of the configuration.
        cameras: that were found.
        bundles: name of the recipe to its bundle, as it stands in the file.
        left_out: folders that look like bundles and are none that can be used, with the reason.
    """

    path: Path
    cameras: tuple[CameraFound, ...]
    bundles: dict[str, str]
    left_out: dict[str, str]


def write_first(
    path: Path,
    *,
    bundles: Sequence[Path] = (),
    sources: Sequence[str] = (),
    folder: Path | None = None,
    host: Host | None = None,
    packages: Packages | None = None,
) -> Written:
    """Write a configuration. Nothing that is there already is replaced.

    Args:
        path: of the file.
        bundles: that judge the products; without any, those in `folder`.
        sources: where frames come from, as for `spade-edge score`; without any, the cameras of this machine.
        folder: where to look for bundles; None for the current folder.
        host: the machine whose cameras are listed; None for this one.
        packages: of it; None for those of this Python.

    Raises:
        UsageError: something has that name already, or a bundle or source cannot be named in a configuration.
        BundleError: one of `bundles` is none.
        DataError: it cannot be written.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path}: expected a name that is free, found a file; a configuration is never replaced")
    searched = folder or Path()
    named: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for bundle in bundles or _candidates(searched):
        try:
            Manifest.read(bundle)
            text = _as_written(bundle, path.absolute().parent)
        except (BundleError, UsageError) as problem:
            if bundles:
                raise
            left_out[str(bundle)] = str(problem)
            continue
        named[_free(_name(bundle.absolute().name.removesuffix(SUFFIX), "part"), named)] = text
    found = (
        _given(sources, path.absolute().parent)
        if sources
        else _cameras(host or Host.here(), packages or Packages.here())
    )
    text = template(cameras=found, bundles=named, searched=str(searched.absolute()), file=str(path))
    with creating(path) as file:
        file.write(text.encode("utf-8", "replace"))
    return Written(path, found, named, left_out)


def _candidates(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder to look for bundles in, found none; give one that is there")
    return [path for path in sorted(folder.glob(f"*{SUFFIX}")) if path.is_dir()][: MOST["recipe"]]


def _as_written(bundle: Path, folder: Path) -> str:
    """The path of a bundle for a configuration in a folder: relative if it lies in it."""
    whole = bundle.absolute()
    text = str(whole.relative_to(folder)) if whole.is_relative_to(folder) else str(whole)
    text = f"./{text}" if text.startswith(("~", " ")) else text
    _check(text, options_of(RecipeOptions)["bundle"], folder)
    return text


def _check(text: str, option: Option, folder: Path) -> None:
    """Refuse what a configuration cannot hold."""
    try:
        understood(text, option, folder=folder)
    except UnfitError as problem:
        raise UsageError(f"{shown(text)}: expected {problem.expected}, found other characters; rename it") from None


def _given(sources: Sequence[str], folder: Path) -> tuple[CameraFound, ...]:
    """Cameras for sources that somebody has named; files are found from anywhere."""
    named: dict[str, CameraFound] = {}
    for source in sources:
        _check(source, options_of(CameraOptions)["source"], folder)
        watched = source.startswith(WATCH)
        where = source.removeprefix(WATCH)
        files = watched or (not goes_on(source) and os.path.lexists(source))
        text = f"{WATCH if watched else ''}{Path(where).absolute()}" if files else source
        name = _free(_name(Path(where).name if files else f"camera-{where.removeprefix(GENICAM)}", "camera"), named)
        named[name] = CameraFound(name, text, "", files=files and not watched)
    return tuple(named.values())


def _cameras(host: Host, packages: Packages) -> tuple[CameraFound, ...]:
    named: dict[str, CameraFound] = {}
    for source, label in connected(host, packages)[: MOST["camera"]]:
        name = _free(_name(f"camera-{source.removeprefix('genicam:')}", "camera"), named)
        named[name] = CameraFound(name, source, label)
    return tuple(named.values())


def _name(text: str, otherwise: str) -> str:
    """A name that a table may have."""
    return re.sub("[^A-Za-z0-9_-]+", "-", text).strip("-")[:60] or otherwise


def _free(name: str, taken: dict[str, str] | dict[str, CameraFound]) -> str:
    """The name, with a number if it is taken."""
    number = 2
    chosen = name
    while chosen in taken:
        chosen, number = f"{name}-{number}", number + 1
    return chosen
