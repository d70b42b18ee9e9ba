"""Opens one bundle or one camera of a line, in a process of its own, because a driver or a library can hang or crash.

    python -m spade_edge.tools.doctor.line_probe line.toml recipe cap
    python -m spade_edge.tools.doctor.line_probe line.toml camera top

Prints one JSON object to stdout; the output of libraries goes to stderr. It reads the configuration itself, so that no
password stands on a command line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import Provider, Scorer, SpadeError
from spade_edge.tools.line.configuration.options import CameraOptions, LineConfiguration, LineOptions, RecipeOptions
from spade_edge.tools.line.configuration.reader import read
from spade_edge.tools.line.configuration.source import open_camera
from spade_edge.tools.sources import Shot

SILENCE = 10.0  # seconds that a camera has for its first frame


def main(config: str, what: str, name: str) -> None:
    """Open one thing, and print what came of it."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print to stdout, too
    value: dict[str, Any]
    try:
        configuration = read(Path(config))
        value = about_recipe(configuration, name) if what == "recipe" else about_camera(configuration, name)
    except SpadeError as problem:
        value = {"error": str(problem)}
    except Exception as problem:
        value = {"error": f"{type(problem).__name__}: {problem}"}
    with answer:
        answer.write(json.dumps(value))
        answer.flush()
        os._exit(0)  # a camera's driver or thread that hangs must not keep this process


def about_recipe(configuration: LineConfiguration, name: str) -> dict[str, Any]:
    """Open a bundle as the service does, with its signature and its golden frames."""
    options = configuration.recipes[name]
    began = time.monotonic()
    scorer = _opened(options, configuration.line, self_test=options.self_test)
    manifest = scorer.bundle.manifest
    return {
        "seconds": time.monotonic() - began,
        "good images": len(manifest.names),
        "signed": bool(configuration.line.require_signature),
        "self test": options.self_test,
    }


def about_camera(configuration: LineConfiguration, name: str) -> dict[str, Any]:
    """Take one frame of a camera, and judge it by its recipe."""
    options = configuration.cameras[name]
    shot = first_shot(options)
    if shot is None or shot.frame is None:
        damaged = shot is not None and not shot.news
        return {"damaged" if damaged else "silent": "" if shot is None else shot.fault}
    height, width = shot.frame.shape[:2]
    value: dict[str, Any] = {"width": width, "height": height, "grey": shot.frame.ndim == 2}
    try:
        scorer = _opened(configuration.recipes[options.recipe], configuration.line, self_test=False)
    except SpadeError:
        return value  # the finding on the recipe says why
    return value | _judged(scorer, shot.frame)


def first_shot(options: CameraOptions) -> Shot | None:
    """The first frame of a camera, or what it says instead; None if it says nothing."""
    source = open_camera(options, reopen=0, stall=SILENCE)
    with source.acquire() as shots:
        return next(iter(shots), None)


def _judged(scorer: Scorer, frame: NDArray[np.uint8]) -> dict[str, Any]:
    try:
        result = scorer(frame)
    except SpadeError as problem:
        return {"refused": str(problem)}
    return {"verdict": result.verdict, "reason": result.reason}


def _opened(options: RecipeOptions, line: LineOptions, *, self_test: bool) -> Scorer:
    digest = None
    if line.require_signature:
        from spade_edge.tools.signing.signing import read_keys, signed_manifest

        digest = signed_manifest(options.bundle, read_keys(line.require_signature))
    return Scorer.open(
        options.bundle,
        providers=Provider(line.provider),
        threads=line.threads,
        self_test=self_test,
        even_so=options.even_so,
        manifest_sha256=digest,
    )


if __name__ == "__main__":
    main(*sys.argv[1:4])
