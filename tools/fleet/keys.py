"""Keys: the same key stands for the same work, whoever does it, where and when.

A key is the SHA-256 of everything that decides what a bundle looks like: names, contents and groups of the images, the
network, the options, and the software. Where images lie, how many threads or workers there are, and when it is done
change nothing. The packages are part of it because they compute: OpenCV decodes images and finds repeats, onnxruntime
runs the network, numpy's linear algebra fits the coding, and hnswlib builds the index. Another version of any of them
may give other bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from spade_edge import __version__
from spade_edge.galleries import BuildOptions
from spade_edge.runtime.bundle.manifest import SCHEMA
from spade_edge.tools.datasets.entry import Entry
from spade_edge.tools.fleet.settings import to_json

WITHOUT_EFFECT = ("threads", "created", "follow_links")  # options; linked images are among the entries, or are not


@cache
def software() -> dict[str, str]:
    """The versions that decide which bytes a bundle has."""
    import cv2
    import numpy as np
    import onnxruntime

    return {
        "spade-edge": __version__,
        "schema": str(SCHEMA),
        "numpy": np.__version__,
        "onnxruntime": str(onnxruntime.__version__),
        "opencv": str(cv2.__version__),
        "hnswlib": _installed("hnswlib"),
    }


def key_of_bundle(
    entries: Iterable[Entry], *, model: str, options: BuildOptions, files: dict[str, str], versions: dict[str, str]
) -> str:
    """The key of a bundle.

    Args:
        entries: the images of good parts.
        model: SHA-256 of the network's file.
        options: of the build.
        files: SHA-256 of each file that the options name, see `settings.files_of`.
        versions: of the software.
    """
    chosen = {name: value for name, value in to_json(options).items() if name not in WITHOUT_EFFECT}
    chosen["views"]["mask"] = files.get("mask")
    chosen["groups"] = files.get("groups", chosen["groups"])
    return hashed(
        {
            "images": sorted([entry.name, entry.sha256, entry.group] for entry in entries),
            "model": model,
            "options": chosen,
            "software": versions,
        }
    )


def hashed(value: Any) -> str:
    """SHA-256 of a JSON value, of which the same value always has the same text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
