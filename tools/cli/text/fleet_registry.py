"""What `spade-edge fleet push`, `list` and `promote` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.legible import legible
from spade_edge.tools.cli.text.columns import columns
from spade_edge.tools.registry import Move, Promotion, Published, Pushed


def pushed_sentence(pushed: Pushed) -> str:
    """A bundle that was pushed, in one line."""
    sent = (
        f"{pushed.sent / 1e6:,.1f} of {pushed.size / 1e6:,.1f} MB were sent" if pushed.sent else "all of it was there"
    )
    return f"{pushed.name}:{pushed.tag} in {pushed.registry} is sha256:{pushed.digest}; {sent}"


def promoted_sentence(done: Promotion) -> str:
    """A channel that was moved, in one line."""
    now = f"{done.name}:{done.channel} is {done.digest[:SHORT]} (bundle {done.bundle[:SHORT]})"
    if not done.moved:
        return f"{now} already"
    return f"{now}, and was {done.came_from[:SHORT]} before" if done.came_from else f"{now}, its first version"


def list_lines(address: str, versions: Sequence[Published], moved: Mapping[str, Sequence[Move]]) -> list[str]:
    """The versions, and the moves of channels, for people."""
    if not versions:
        return [f"{address} has no bundles; check the address, or publish one with 'spade-edge fleet push'"]
    rows = [("name", "tags", "digest", "bundle", "built (UTC)", "images", "threshold", "size", "signature by")]
    for one in versions:
        about = one.about
        rows.append(
            (
                one.name,
                ", ".join((*one.channels, *(tag for tag in one.tags if tag not in one.channels))),
                one.digest[:SHORT],
                about.bundle[:SHORT],
                _plain(about.created).replace("T", " ")[:19],
                str(about.images),
                f"{about.threshold:.6g}",
                f"{one.size / 1e6:,.1f} MB",
                ", ".join(one.signed_by) or "nobody",
            )
        )
    lines = columns(rows)
    for channel, own in moved.items():
        lines += ["", f"channel {channel}, the oldest move first"]
        moves = [("when (UTC)", "version", "before", "who", "what")]
        for move in own:
            what = f"{move.verb}: {move.reason}" if move.reason else move.verb
            when = _plain(move.when).replace("T", " ")[:19]
            before = move.came_from[:SHORT] or "none"
            moves.append((when, move.digest[:SHORT], before, _plain(move.who), _plain(what)))
        lines += columns(moves)
    return lines


def list_as_json(address: str, versions: Sequence[Published], moved: Mapping[str, Sequence[Move]]) -> dict[str, Any]:
    return {
        "registry": address,
        "versions": [one.to_json() for one in versions],
        "channels": {channel: [move.to_json() for move in own] for channel, own in moved.items()},
    }


def _plain(text: str) -> str:
    """Text from a registry without characters that a terminal would act on."""
    return legible(text)[:200]
