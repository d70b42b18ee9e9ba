"""What `spade-edge pack` and `spade-edge unpack` print."""

from __future__ import annotations

from typing import Any

from spade_edge.galleries.packing import Packed
from spade_edge.galleries.unpacking import Unpacked


def packed_sentence(packed: Packed) -> str:
    """A packed bundle in one line."""
    what = f"{packed.generations} generations" if packed.generations > 1 else "1 generation"
    return f"{packed.path}: {what} in {packed.files} files, {packed.size / 1e6:,.1f} MB"


def packed_as_json(packed: Packed) -> dict[str, Any]:
    return {
        "file": str(packed.path),
        "bytes": packed.size,
        "files": packed.files,
        "generations": packed.generations,
    }


def unpacked_sentence(unpacked: Unpacked) -> str:
    """An unpacked bundle in one line."""
    manifest = unpacked.manifest
    what = f"{int(manifest.included.sum())} good images, threshold {manifest.threshold.score:.6g}"
    if unpacked.former is not None:
        sentence = f"{unpacked.path}: a new generation with {what}; the former one is kept in {unpacked.former}"
    else:
        sentence = f"{unpacked.path}: a new bundle with {what}{', with its history' if unpacked.history else ''}"
    return f"{sentence}; the packed history is left out, as the folder was there" if unpacked.left_out else sentence


def unpacked_as_json(unpacked: Unpacked) -> dict[str, Any]:
    return {
        "bundle": str(unpacked.path),
        "images": int(unpacked.manifest.included.sum()),
        "threshold": unpacked.manifest.threshold.score,
        "former": None if unpacked.former is None else str(unpacked.former),
        "history": unpacked.history,
    }
