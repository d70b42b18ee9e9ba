"""What `spade-edge init` prints."""

from __future__ import annotations

from typing import Any

from spade_edge.tools.line.first_configuration import Written


def written_sentences(written: Written) -> list[str]:
    """What the file has, and what to do next, line by line."""
    cameras = [f"{camera.name} ({camera.label})" if camera.label else camera.name for camera in written.cameras]
    lines = [f"{written.path}: a configuration with", f"  {_listed('camera', cameras)}"]
    lines.append(f"  {_listed('recipe', list(written.bundles))}")
    lines += [f"left out: {reason}" for reason in written.left_out.values()]
    lines.append(f"next: edit it, then run 'spade-edge run --config {written.path} --check'")
    return lines


def written_as_json(written: Written) -> dict[str, Any]:
    return {
        "config": str(written.path),
        "cameras": {camera.name: {"source": camera.source, "label": camera.label} for camera in written.cameras},
        "recipes": written.bundles,
        "left_out": written.left_out,
    }


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return f"an example of a {what}, because none was found"
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'}: {', '.join(names)}"
