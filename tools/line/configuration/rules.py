"""What several options of a configuration must fulfil together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from spade_edge.tools.line.configuration.description import MOST, OUTPUT, options_of
from spade_edge.tools.line.configuration.options import (
    FRAME,
    MESSAGE,
    CameraOptions,
    FileOptions,
    GpioOptions,
    MqttOptions,
    OpcUaOptions,
    PageOptions,
    ReportOptions,
    WebhookOptions,
)
from spade_edge.tools.line.configuration.table import Table, Tables
from spade_edge.tools.line.configuration.values import nearest, shown
from spade_edge.tools.sources.address import printable
from spade_edge.tools.sources.cameras import opencv_camera

# Options that mean nothing without another one in the same table.
NEEDS: dict[type, dict[str, str]] = {
    CameraOptions: {"line_overlap": "linescan"},
    MqttOptions: {
        "username": "password_file",
        "password_file": "username",
        "cert_file": "key_file",
        "key_file": "cert_file",
    },
    OpcUaOptions: {
        "username": "password_file",
        "password_file": "username",
        "cert_file": "key_file",
        "key_file": "cert_file",
    },
    PageOptions: {"cert_file": "key_file", "key_file": "cert_file"},
}
# Options that mean nothing unless another one has a certain value.
ONLY_WITH: dict[type, dict[str, tuple[str, Any]]] = {
    CameraOptions: {"frame_after_ms": ("trigger", MESSAGE), "numbered": ("trigger", FRAME)},
    MqttOptions: {"ca_file": ("tls", True), "cert_file": ("tls", True), "key_file": ("tls", True)},
}
FILES = (FileOptions, ReportOptions)  # outputs that write one
EVERY_ADDRESS = ("0.0.0.0", "[::]")  # noqa: S104  (compared with, not bound to)


@dataclass(frozen=True)
class Breach:
    """A rule that is broken.

    Attributes:
        place: of the option, or of the table.
        expected, found, remedy: for a mistake.
    """

    place: tuple[str | int, ...]
    expected: str
    found: str
    remedy: str


def breaches(tables: Tables) -> Iterator[Breach]:
    """The rules that a configuration breaks."""
    for table in _all(tables):
        yield from _alone(table)
    yield from _cameras(tables)
    yield from _recipe_numbers(tables.named["recipe"])
    yield from _outputs(tables)
    yield from _ports(tables)
    yield from _gpio_lines(tables.named[OUTPUT].values())
    yield from _gpio_delays(tables)
    yield from _folders(tables)


def _all(tables: Tables) -> Iterator[Table]:
    yield from tables.single.values()
    for group in tables.named.values():
        yield from group.values()


def _alone(table: Table) -> Iterator[Breach]:
    """Options of one table that need or exclude each other."""
    for key, other in NEEDS.get(table.type, {}).items():
        lacks = other not in table.given or table[other] == ""
        if key in table.given and table[key] not in (None, "") and lacks:
            yield Breach((*table.place, key), f"{other} beside it", "none", f"add {other}, or remove {key}")
    for key, (other, wanted) in ONLY_WITH.get(table.type, {}).items():
        meant = key in table.given and table[key] != options_of(table.type)[key].default
        if meant and table[other] not in (None, wanted):
            setting = f"{other} = {shown(wanted)}"
            yield Breach(
                (*table.place, key),
                f"{setting} beside it",
                f"{other} = {shown(table[other])}",
                f"write {setting}, or remove {key}",
            )
    if table.type is WebhookOptions and "ca_file" in table.given and str(table["url"]).startswith("http://"):
        yield Breach(
            (*table.place, "ca_file"),
            "an address that begins with https://",
            "http://",
            "change url, or remove ca_file",
        )
    if table.type is OpcUaOptions and table["commands"] and "username" not in table.given:
        yield Breach(
            (*table.place, "commands"),
            "username and password_file beside it",
            "none: anyone who can connect could trigger",
            "add them, or remove commands",
        )
    if table.type is CameraOptions:
        if table["frozen"] == 1:
            yield Breach((*table.place, "frozen"), "0 for never, or at least 2 identical frames", "1", "raise it")
        strip, overlap = table["linescan"], table["line_overlap"]
        if None not in (strip, overlap) and overlap >= strip:
            yield Breach(
                (*table.place, "line_overlap"), f"fewer lines than the {strip} of linescan", f"{overlap}", "lower it"
            )


def _cameras(tables: Tables) -> Iterator[Breach]:
    """The recipes of cameras, where messages come from, and devices that are opened twice."""
    if not tables.named["camera"] and not tables.unsound["camera"]:
        yield Breach(
            ("camera",), "at least one table [camera.NAME]", "none", "add one with source, recipe and deadline_ms"
        )
    devices: dict[str, str] = {}
    for name, camera in tables.named["camera"].items():
        recipe = camera["recipe"]
        if recipe is not None and not tables.has("recipe", recipe):
            yield _absent((*camera.place, "recipe"), "recipe", recipe, tables)
        if camera["trigger"] == MESSAGE and not _takes_messages(tables):
            yield Breach(
                (*camera.place, "trigger"),
                "an output with commands = true, or a [page] with a token_file, from which messages come",
                "none",
                f'add one, or write trigger = "{FRAME}"',
            )
        source = camera["source"]
        if source is None or not is_device(source):
            continue
        device = source.removeprefix("/dev/video")
        if device in devices:
            yield Breach(
                (*camera.place, "source"),
                "a device of its own for each camera",
                f"{shown(printable(source))}, which camera.{devices[device]} has",
                "change one of them",
            )
        devices.setdefault(device, name)


def is_device(source: str) -> bool:
    """Whether a source is a device that only one can open."""
    return source == "-" or source.startswith("genicam:") or opencv_camera.is_camera(source)


def _takes_messages(tables: Tables) -> bool:
    outputs = tables.named[OUTPUT].values()
    page = tables.single.get("page")
    asked = any("commands" in output.given and output["commands"] is not False for output in outputs)
    return asked or (page is not None and "token_file" in page.given) or bool(tables.unsound[OUTPUT])


def _absent(place: tuple[str | int, ...], kind: str, name: str, tables: Tables) -> Breach:
    """A name that no table has."""
    known = list(tables.named[kind])
    listed = ", ".join(known[:10]) + (" …" if len(known) > 10 else "")
    meant = nearest(name, known)
    remedy = f'write "{meant}"' if meant else f"add a table [{kind}.NAME] for it, or correct the name"
    return Breach(place, f"the name of a {kind} of this file ({listed or 'it has none'})", shown(name), remedy)


def _recipe_numbers(recipes: Any) -> Iterator[Breach]:
    """Numbers by which controllers choose; a recipe without one has that of its place in the file."""
    taken: dict[int, str] = {}
    for given in (True, False):  # those that the file gives come first: the others yield
        for place, (name, recipe) in enumerate(recipes.items(), start=1):
            if ("number" in recipe.given) is not given:
                continue
            number = recipe["number"] if given else place
            if number is None:
                continue
            if number in taken:
                own = f"{number}" if given else f"none, so {number} by its place in the file"
                yield Breach(
                    (*recipe.place, *(("number",) if given else ())),
                    "a number of its own for each recipe",
                    f"{own}, which recipe.{taken[number]} has",
                    "give all recipes a number of their own",
                )
            taken.setdefault(number, name)


def _outputs(tables: Tables) -> Iterator[Breach]:
    """The cameras of outputs, and files that two would write."""
    files: dict[str, str] = {}
    for name, output in tables.named[OUTPUT].items():
        for index, camera in islice(enumerate(output["cameras"] or ()), 2 * MOST["camera"]):
            if not tables.has("camera", camera):
                yield _absent((*output.place, "cameras", index), "camera", camera, tables)
        if output.type in FILES and (path := output["path"]) is not None:
            real = os.path.realpath(path)
            if real in files:
                yield Breach(
                    (*output.place, "path"),
                    "a file of its own for each output",
                    f"that of output.{files[real]}",
                    "change one of them",
                )
            files.setdefault(real, name)


def listeners(tables: Tables) -> Iterator[tuple[Table, str, int]]:
    """Whoever listens: table, address, port."""
    for table in (*tables.named[OUTPUT].values(), *tables.single.values()):
        if "listen" in options_of(table.type) and (listen := table["listen"]) is not None:
            host, _, port = listen.rpartition(":")
            yield table, host, int(port)


def _ports(tables: Tables) -> Iterator[Breach]:
    taken: list[tuple[Table, str, int]] = []
    for table, host, port in listeners(tables):
        for other, its_host, its_port in taken:
            if port == its_port and (host == its_host or host in EVERY_ADDRESS or its_host in EVERY_ADDRESS):
                yield Breach(
                    (*table.place, "listen"),
                    "an address and a port of its own",
                    f"port {port}, on which {other.name} listens",
                    "change one of them",
                )
                break
        taken.append((table, host, port))


def _gpio_delays(tables: Tables) -> Iterator[Breach]:
    """Pulses that would be due before the decision on their part."""
    for output in tables.named[OUTPUT].values():
        delay, cameras = (output["delay_ms"], output["cameras"]) if output.type is GpioOptions else (None, None)
        if not delay or cameras is None:
            continue
        for name, camera in tables.named["camera"].items():
            due = camera["deadline_ms"]
            if due is not None and delay < due and (not cameras or name in cameras):
                yield Breach(
                    (*output.place, "delay_ms"),
                    f"0, or at least {due}, the deadline_ms of camera.{name}",
                    f"{delay}: a part that is late would have passed the gate already",
                    "raise it, or lower deadline_ms",
                )


def _gpio_lines(outputs: Iterable[Table]) -> Iterator[Breach]:
    taken: dict[tuple[str, int], str] = {}
    for output in outputs:
        if output.type is not GpioOptions or output["chip"] is None:
            continue
        for key in ("line", "ready_line"):
            number = output[key]
            if number is None:
                continue
            at = (os.path.realpath(output["chip"]), number)
            if at in taken:
                yield Breach(
                    (*output.place, key),
                    "a line of its own",
                    f"{number}, which {taken[at]} has",
                    "change one of them",
                )
            taken.setdefault(at, f"{key} of {output.name}")


def _folders(tables: Tables) -> Iterator[Breach]:
    """The evidence has its folder for itself, because it removes what is old. It is not in a watched folder, where each
    frame that is kept would be another part.
    """
    evidence = tables.single.get("evidence")
    folder = None if evidence is None else evidence["folder"]
    if evidence is None or folder is None:
        return
    kept = Path(os.path.realpath(folder))
    for what, path in _others(tables):
        real = Path(os.path.realpath(path))
        if real == kept or kept in real.parents:
            yield Breach(
                (*evidence.place, "folder"), "a folder with nothing else in it", f"one in which {what} is", "change it"
            )
    for name, camera in tables.named["camera"].items():
        watched = (camera["source"] or "").partition("watch:")
        if not watched[0] and watched[2] and Path(os.path.realpath(watched[2])) in kept.parents:
            yield Breach(
                (*evidence.place, "folder"),
                "a folder that no camera watches",
                f"one in the watched folder of camera.{name}: each frame that is kept would be another part",
                "change it",
            )


def _others(tables: Tables) -> Iterator[tuple[str, Path]]:
    """What is read and written beside the evidence."""
    if (state := tables.single["line"]["state"]) is not None:
        yield "state of [line]", state
    for name, recipe in tables.named["recipe"].items():
        if recipe["bundle"] is not None:
            yield f"the bundle of recipe.{name}", recipe["bundle"]
    for name, output in tables.named[OUTPUT].items():
        if output.type in FILES and output["path"] is not None:
            yield f"the file of output.{name}", output["path"]
    for name, camera in tables.named["camera"].items():
        source = camera["source"] or ""
        if source.startswith("watch:"):
            yield f"the watched folder of camera.{name}", Path(source.removeprefix("watch:"))
