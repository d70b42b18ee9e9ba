"""The commented configuration that `spade-edge init` writes: every option with its description, so that the file is its
own manual. It is made from the descriptions of the options.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spade_edge import __version__
from spade_edge.runtime.legible import legible
from spade_edge.tools.line.configuration.description import (
    KIND,
    OUTPUT,
    SINGLE,
    Option,
    heading,
    options_of,
    summary,
)
from spade_edge.tools.line.configuration.options import OUTPUTS, CameraOptions, OutputOptions, RecipeOptions
from spade_edge.tools.line.configuration.values import expected, size

TRIAL = 60_000  # milliseconds of a deadline where a desk computer may take its time
WIDTH = 100  # columns of a comment
HEAD = """\
The configuration of a line, written by spade-edge {version}.

    spade-edge run --config {file} --check        names every mistake in this file
    spade-edge doctor --config {file}             tries bundles, cameras, brokers and disks
    spade-edge run --config {file}                runs the line

What stands behind # is not read. An option behind # shows its default, or an example where it has none. To set it, \
remove the # and change the value. Paths are relative to the folder of this file."""


@dataclass(frozen=True)
class CameraFound:
    """A camera of this machine.

    Attributes:
        name: for its table.
        source: as `spade-edge score` takes it.
        label: as its driver names it; "" if it does not.
        files: whether it is a trial on files, in which nobody waits at a gate.
    """

    name: str
    source: str
    label: str
    files: bool = False


def template(
    *, cameras: Sequence[CameraFound], bundles: Mapping[str, str], searched: str, file: str = "line.toml"
) -> str:
    """A configuration that reads without a mistake.

    Args:
        cameras: that were found; without any, the file has an example.
        bundles: name of the recipe to the path of the bundle, as it should stand in the file; without any, the file has
            an example.
        searched: the folder in which bundles were looked for.
        file: name of the file, for its first lines.

    Returns:
        the text of a TOML file.
    """
    parts = [_comment(HEAD.format(version=__version__, file=legible(file)))]
    parts.append(_table("line", SINGLE["line"], {}))
    parts += _recipes(bundles, searched)
    parts += _cameras(cameras, next(iter(bundles), _example("recipe", CameraOptions)), len(bundles))
    parts.append(
        _comment("[output.NAME]: where decisions go; as many as are needed, each with a name of its own. Examples:")
    )
    parts += [_example_of(OUTPUT, kind, table, kind=kind) for kind, table in OUTPUTS.items()]
    parts += [_example_of(name, name, SINGLE[name]) for name in ("evidence", "page")]
    return "\n\n".join(parts) + "\n"


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def value_of(option: Option) -> str:
    """The typical value of an option as TOML writes it."""
    if option.size:
        return toml(size(option.typical))
    return toml(() if option.typical is None else option.typical)


def told(option: Option) -> str:
    """What an option is, and what it takes, in sentences."""
    sentences = [option.about]
    if option.choices:
        sentences.append(f"{'Any of' if option.many else 'One of'} {', '.join(map(toml, option.choices))}.")
    elif option.type in (int, float):
        wanted = expected(option)
        sentences.append(f"{wanted[:1].upper()}{wanted[1:]}.")
    if not option.required and option.default is None:
        sentences.append("Not set by default.")
    return " ".join(sentences)


def _recipes(bundles: Mapping[str, str], searched: str) -> list[str]:
    if not bundles:
        note = (
            f"No bundle was found in {legible(searched)}: this is an example. 'spade-edge build' writes a bundle; "
            "give its folder here."
        )
        name = _example("recipe", CameraOptions)
        return [_table("recipe", RecipeOptions, {"bundle": _example("bundle", RecipeOptions)}, named=name, note=note)]
    return [
        _table("recipe", RecipeOptions, {"bundle": path}, named=name, short=place > 0)
        for place, (name, path) in enumerate(bundles.items())
    ]


def _cameras(cameras: Sequence[CameraFound], recipe: str, recipes: int) -> list[str]:
    which = "" if recipes < 2 else "Several bundles were found: check which recipe judges the frames of this camera."
    deadline = _example("deadline_ms", CameraOptions)
    if not cameras:
        note = "No camera was found on this machine: this is an example. Give the address or number of yours."
        given = {"source": _example("source", CameraOptions), "recipe": recipe, "deadline_ms": deadline}
        return [_table("camera", CameraOptions, given, named="camera-1", note=f"{note} {which}")]
    made = []
    for place, camera in enumerate(cameras):
        given = {"source": camera.source, "recipe": recipe, "deadline_ms": TRIAL if camera.files else deadline}
        label = f"Its driver calls it {legible(camera.label)}." if camera.label else ""
        note = f"{label} {which}"
        made.append(_table("camera", CameraOptions, given, named=camera.name, note=note, short=place > 0))
    return made


def _table(
    name: str,
    table: type,
    given: Mapping[str, Any],
    *,
    named: str = "",
    note: str = "",
    short: bool = False,
) -> str:
    """A table with the options that are given, and the others as comments.

    Args:
        name: "line", "recipe", …
        table: its class.
        given: options to values.
        named: its name, if it has one.
        note: a remark on this table.
        short: leave out what an earlier table of this kind has told.
    """
    lines = []
    if short:
        lines.append(_comment(f"All options of the first {name} may be set here, too."))
    else:
        lines.append(_comment(f"{heading(name)}: {summary(table)}"))
    if note.strip():
        lines.append(_comment(note.strip()))
    lines.append(heading(name, named))
    for key, option in options_of(table).items():
        if key in given:
            lines += [] if short else [_comment(told(option))]
            lines.append(f"{key} = {toml(given[key])}")
        elif not short:
            lines += [_comment(told(option)), f"#{key} = {value_of(option)}"]
    return "\n".join(lines)


def _example_of(name: str, named: str, table: type, *, kind: str = "") -> str:
    """A table that is a comment as a whole."""
    title = heading(name, named)
    lines = [_comment(f"{title}: {summary(table)}"), f"#{title}"]
    if kind:
        lines.append(f"#{KIND} = {toml(kind)}")
    inherited = set(options_of(OutputOptions)) if kind and kind != next(iter(OUTPUTS)) else set()
    for key, option in options_of(table).items():
        lines += [] if key in inherited else [_comment(told(option))]
        lines.append(f"#{key} = {value_of(option)}")
    return "\n".join(lines)


def _example(key: str, table: type) -> Any:
    return options_of(table)[key].example


def _comment(text: str) -> str:
    """Text as comments; what is indented keeps its lines."""
    lines = []
    for paragraph in text.split("\n"):
        if not paragraph or paragraph.startswith(" "):
            lines.append(f"# {paragraph}".rstrip())
        else:
            lines += textwrap.wrap(
                paragraph,
                WIDTH,
                initial_indent="# ",
                subsequent_indent="# ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)
