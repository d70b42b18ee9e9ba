"""What `spade-edge run` says of a line."""

from __future__ import annotations

from spade_edge.tools.line.state import CameraState, LineState


def started(state: LineState) -> str:
    """What runs, one line."""
    cameras = ", ".join(f"{camera.name} ({camera.recipe}, {camera.bundle}…)" for camera in state.cameras)
    outputs = ", ".join(f"{output.name} ({output.kind})" for output in state.outputs) or "none"
    return f"line {state.line}: cameras {cameras}; outputs {outputs}"


def ended(state: LineState) -> str:
    """What was done, a line for each camera and for each output that missed something."""
    lines = [_camera(camera) for camera in state.cameras]
    for output in state.outputs:
        if output.lost or output.waiting:
            lines.append(
                f"output {output.name}: {output.sent} sent, {output.lost + output.waiting} not sent"
                + (f": {output.health.words}" if output.health.words else "")
            )
    return "\n".join(lines)


def _camera(camera: CameraState) -> str:
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in camera.counts.items())
    said = f"camera {camera.name}: {camera.triggers} triggers: {verdicts}; {camera.rejected} rejected"
    if camera.p50 is None or camera.p99 is None or camera.longest is None:
        return said
    return (
        f"{said}; trigger to decision p50 {camera.p50:.0f} ms, p99 {camera.p99:.0f} ms, longest {camera.longest:.0f} ms"
    )
