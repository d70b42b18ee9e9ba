"""Entries of the evidence in one file, to take away and look at: a plain tar with a page and a table.

    spade-edge-evidence/
        2026-11-28/16/164503.123.top.4711.defect.3056k/…    the entries as they were kept, newest first
        index.csv                                           one line for each
        index.html                                          the same with pictures, to open in a browser

The same entries give the same bytes.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.line.decision_table import header, line, row
from spade_edge.tools.line.evidence.entry import DECISION, FRAME, OVERLAY, Entry
from spade_edge.tools.output import check_replaceable, replacing

TOP = "spade-edge-evidence"
POLICY = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>Evidence</title>
<style>
body {{ font: 16px/1.4 system-ui, sans-serif; margin: 1rem; }}
article {{ display: flex; flex-wrap: wrap; gap: 1rem; border-top: 1px solid #999; padding: 1rem 0; }}
img {{ width: 20rem; max-width: 100%; height: auto; background: #eee; }}
dl {{ margin: 0; }} dt {{ float: left; clear: left; width: 7rem; color: #555; }} dd {{ margin: 0 0 0 7rem; }}
</style>
</head>
<body>
<h1>Evidence: {count} parts</h1>
<p>Newest first; times are UTC. Click a picture to see the frame as it was judged.</p>
{articles}</body>
</html>
"""


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: of the file.
        size: in bytes.
        entries: how many are in it.
        gone: how many were removed while they were read, and are not in it.
        altered: how many have a frame that is not the one that was kept; they are in it.
    """

    path: Path
    size: int
    entries: int
    gone: int
    altered: int


def export(entries: Iterable[Entry], *, folder: Path, output: Path) -> Exported:
    """Write entries to a tar file.

    Args:
        entries: newest first.
        folder: of the evidence.
        output: the file, which is replaced if it is one of these.

    Raises:
        UsageError: the file's name is taken by something else, or lies in the evidence.
        DataError: it cannot be written.
    """
    if output.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{output}: expected a file outside the evidence, found it inside; choose another place")
    check_replaceable(output, lambda head: head.startswith(f"{TOP}/".encode()))
    table, articles = [header("frame_sha256", "folder")], []
    gone = altered = 0
    with (
        replacing(output) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        _add(tar, f"{TOP}/", None, 0)
        for entry in entries:
            files = _files(folder / entry.id, entry)
            if files is None:
                gone += 1
                continue
            altered += FRAME in files and sha256(files[FRAME]).hexdigest() != entry.frame_sha256
            at = max(0, int(entry.time.timestamp()))
            for name, content in files.items():
                _add(tar, f"{TOP}/{entry.id}/{name}", content, at)
            table.append(line([*row(entry.decision), entry.frame_sha256, entry.id]))
            articles.append(_article(entry, files))
        _add(tar, f"{TOP}/index.csv", "".join(table).encode(), 0)
        page = _PAGE.format(policy=POLICY, count=len(articles), articles="".join(articles))
        _add(tar, f"{TOP}/index.html", page.encode(), 0)
    return Exported(output, output.stat().st_size, len(articles), gone, altered)


def _files(place: Path, entry: Entry) -> dict[str, bytes] | None:
    """Name to content of the files of an entry; None if it is gone."""
    names = [DECISION, *([FRAME] if entry.frame else []), *([OVERLAY] if entry.overlay else [])]
    try:
        return {name: (place / name).read_bytes() for name in names}
    except OSError:
        return None


def _add(tar: tarfile.TarFile, name: str, content: bytes | None, at: int) -> None:
    """Add a file, or a folder."""
    about = tarfile.TarInfo(name)
    about.mtime = at
    if content is None:
        about.type, about.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(about)
    else:
        about.size, about.mode = len(content), 0o644
        tar.addfile(about, io.BytesIO(content))


def _article(entry: Entry, files: dict[str, bytes]) -> str:
    """The part of the page about an entry."""
    made = entry.decision
    shown = OVERLAY if OVERLAY in files else FRAME
    picture = ""
    if shown in files:
        target = f"{entry.id}/{FRAME if FRAME in files else shown}"
        picture = f'<a href="{escape(target)}"><img src="{escape(entry.id)}/{shown}" alt="" loading="lazy"></a>\n'
    facts: dict[str, Any] = {
        "time": made["triggered"],
        "camera": made["camera"],
        "number": made["number"],
        "trigger": made["trigger"],
        "verdict": f"{made['verdict']}, {made['gate']}",
        "reason": made["reason"],
        "score": _score(made),
        "recipe": f"{made['recipe']} {made['bundle']}",
    }
    listed = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}&nbsp;</dd>\n" for name, value in facts.items())
    return f"<article>\n{picture}<dl>\n{listed}</dl>\n</article>\n"


def _score(made: dict[str, Any]) -> str:
    score, threshold = made.get("score"), made.get("threshold")
    return "" if score is None else f"{score:.6g}, threshold {threshold}"
