"""Examines a machine: one module for each kind of finding; this file puts them in order.

from spade_edge.tools.doctor import examine
for finding in examine(Host.here()):
    print(finding.state, finding.kind, finding.name, finding.found, finding.remedy)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.doctor import (
    bundle,
    cameras,
    clock,
    gpu,
    heat,
    jetson,
    memory,
    packages,
    processor,
    providers,
    system,
)
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding
from spade_edge.tools.doctor.gpu import Gpus
from spade_edge.tools.doctor.packages import Packages
from spade_edge.tools.doctor.providers import Providers
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.host import Host

__all__ = ["NOTE", "OK", "PROBLEM", "Finding", "Host", "examine"]


def examine(host: Host, *, installed: Packages | None = None, folder: Path | None = None) -> list[Finding]:
    """Examine a machine.

    Args:
        host: the machine.
        installed: its packages; None for the packages of this Python.
        folder: a bundle that is to run there.

    Returns:
        the findings, kind by kind.
    """
    installed = installed or Packages.here()
    board, gpus, tried = Board.of(host), Gpus.of(host), Providers.of(host)
    driver = board.jetson or bool(gpus.rows)
    header = None if folder is None else bundle.read(folder)
    whole = header if isinstance(header, Manifest) else None
    payload = None if whole is None else bundle.payload(whole)
    missing = not installed.like("onnxruntime") and "onnxruntime" not in installed.modules
    found = [
        *_guarded(packages.KIND, lambda: packages.findings(installed)),
        *_guarded(system.KIND, lambda: system.findings(host, board, runs=bool(tried.version))),
        *_guarded(jetson.KIND, lambda: jetson.findings(host, board)),
        *_guarded(processor.KIND, lambda: processor.findings(host, board)),
        *_guarded(clock.KIND, lambda: clock.findings(host, board)),
        *_guarded(heat.KIND, lambda: heat.findings(host, board)),
        *_guarded(memory.KIND, lambda: memory.findings(host, board, payload=payload)),
        *_guarded(
            providers.KIND,
            lambda: providers.findings(tried, board, gpu=driver or gpus.plugged, driver=driver, missing=missing),
        ),
        *_guarded(gpu.KIND, lambda: gpu.findings(host, board, gpus, tried, installed)),
        *_guarded(cameras.KIND, lambda: cameras.findings(host, board, installed)),
    ]
    if isinstance(header, Finding):
        found.append(header)
    if folder is not None and whole is not None:
        where, manifest = folder, whole
        found += _guarded(bundle.KIND, lambda: bundle.findings(where, manifest, tried))
    return found


def _guarded(kind: str, examined: Callable[[], list[Finding]]) -> list[Finding]:
    """On an unexpected machine, a check that fails costs one kind of findings, not all of them."""
    try:
        return examined()
    except Exception as problem:
        what = f"{type(problem).__name__}: {' '.join(str(problem).split())[:120]}"
        return [Finding(kind, kind, NOTE, f"not known here, internal error in doctor: {what}", "report this line")]
