"""What workers do: build a bundle, or encode a part of a gallery. Input and output go through the cache."""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from spade_edge.galleries import build, pack
from spade_edge.galleries.advice import deciding, look_at, untypical
from spade_edge.galleries.encoding import Encode, encode, encode_file
from spade_edge.galleries.options import BuildOptions
from spade_edge.galleries.progress import Progress
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.manifest_file import manifest_bytes
from spade_edge.runtime.errors import DeviceError
from spade_edge.runtime.matching.coding import Coding
from spade_edge.tools.datasets import Entry, images_at, write_dataset
from spade_edge.tools.datasets.naming import naming, told
from spade_edge.tools.fleet.cache import BUNDLES, SHARDS, Cache, Content, Made
from spade_edge.tools.fleet.keys import software
from spade_edge.tools.fleet.scratch import scratch
from spade_edge.tools.fleet.settings import from_json, with_files
from spade_edge.tools.memory import peak
from spade_edge.tools.remote import MissingError, shown

REMARKS = 200  # that are kept of a build


def build_bundle(
    *,
    cache: str,
    key: str,
    images: str,
    entries: list[dict[str, Any]],
    model: dict[str, Any],
    source: str,
    options: dict[str, Any],
    files: dict[str, Any],
    threads: int,
    versions: dict[str, str],
) -> dict[str, Any]:
    """Build a bundle in one piece, and keep it in the cache.

    Args:
        cache: its address.
        key: of the work.
        images: what messages call the place of the images.
        entries: the images, see `Entry`.
        model: content of the cache.
        source: what messages call the model.
        options: see `settings`.
        files: content of the cache, by role and with the suffix of its name: those that the options name.
        threads: to use, unless the options say.
        versions: of the software that the key stands for.

    Returns:
        what was made.

    Raises:
        DeviceError: this machine has other versions.
        SpadeError: as for `build`, `images_at` and `Cache`.
    """
    check_software(versions)
    store = Cache(cache)
    chosen = from_json(options)
    with scratch() as folder:
        at = {role: _fetched(store, one, folder / f"{role}{one['suffix']}") for role, one in files.items()}
        made = built_into(
            store,
            key,
            tuple(Entry(**entry) for entry in entries),
            images=images,
            model=_fetched(store, model, folder / "model.onnx"),
            source=source,
            options=replace(with_files(chosen, at), threads=chosen.threads or threads),
            folder=folder,
        )
    return asdict(made)


def built_into(
    cache: Cache,
    key: str,
    entries: Sequence[Entry],
    *,
    images: str,
    model: Path,
    source: str,
    options: BuildOptions,
    folder: Path,
    encode: Encode = encode,
    more: Callable[[], dict[str, Any]] = dict,
    progress: Progress = lambda items, label: items,
) -> Made:
    """Build a bundle from images wherever they lie, and keep it in the cache.

    Args:
        cache: where it is kept.
        key: of the work.
        entries: the images; each is held against its hash.
        images: what messages call their place.
        model: the network's file.
        source: what messages call the model.
        options: of the build.
        folder: for files that are needed meanwhile.
        encode: see `build`.
        more: further facts, which are asked for when the bundle is built.
        progress: see `build`.
    """
    start, used = perf_counter(), process_time()
    dataset = folder / "images.jsonl"
    write_dataset(dataset, entries)
    called = {re.escape(str(dataset)): shown(images), re.escape(str(model)): shown(source)}
    with (
        _said() as warnings,
        naming(called),
        images_at(str(dataset), groups=options.groups, progress=progress) as local,
    ):
        built = build(
            local.folder,
            model=model,
            output=folder / "part.spade",
            options=replace(options, groups=local.groups),
            progress=progress,
            encode=encode,
        )
        packed = pack(built.path, folder / "part.tar")
        remarks = told(local.told([*built.remarks, *(f"left out: {image}" for image in built.skipped)]), called)
    _, manifest = manifest_bytes(built.path)
    facts = {
        "manifest": manifest,
        "images": len(built.manifest.images),
        "threshold": built.manifest.threshold.score,
        "untypical": [image.name for image in untypical(built.manifest)[:REMARKS]],
        "remarks": _some([*_advice(built.manifest), *warnings, *remarks]),
        "seconds": {name: round(seconds, 3) for name, seconds in built.seconds.items()},
        "total_seconds": round(perf_counter() - start, 3),
        "cpu_seconds": round(process_time() - used, 3),
        "peak_bytes": peak(),
        "host": platform.node(),
    } | more()
    return cache.keep(BUNDLES, key, packed.path, facts)


def encode_shard(
    *,
    cache: str,
    key: str,
    model: dict[str, Any],
    source: str,
    views: dict[str, Any],
    count: int,
    coding: dict[str, Any],
    normalisation: str,
    threads: int,
    versions: dict[str, str],
) -> dict[str, Any]:
    """Encode a part of a gallery's items, and keep the records in the cache.

    Args:
        cache: its address.
        key: of the work.
        model: content of the cache.
        source: what messages call the model.
        views: content of the cache, (count, H, W, 3) float32 without a header.
        count: of the views.
        coding: content of the cache, see `coding_file`.
        normalisation: of the features.
        threads: to use.
        versions: of the software that the key stands for.

    Returns:
        what was made.

    Raises:
        DeviceError: this machine has other versions.
        SpadeError: as for `encode_file` and `Cache`.
    """
    check_software(versions)
    start, used = perf_counter(), process_time()
    store = Cache(cache)
    with scratch() as folder:
        records = folder / "records.npy"
        encode_file(
            _fetched(store, views, folder / "views"),
            records,
            count=count,
            model=_fetched(store, model, folder / "model.onnx"),
            source=source,
            coding=read_coding(_fetched(store, coding, folder / "coding.npz"), normalisation),
            threads=threads,
        )
        facts = {
            "seconds": round(perf_counter() - start, 3),
            "cpu_seconds": round(process_time() - used, 3),
            "peak_bytes": peak(),
            "host": platform.node(),
        }
        return asdict(store.keep(SHARDS, key, records, facts))


def _advice(manifest: Manifest) -> list[str]:
    """What `spade-edge build` says of the good images and the threshold: nobody sees this build."""
    decisive = deciding(manifest)
    decides = decisive.sentence() if decisive is not None and decisive.matters else ""
    return [sentence for sentence in (look_at(manifest), decides, manifest.threshold.caution()) if sentence]


def _some(remarks: list[str]) -> list[str]:
    """The first remarks, and how many there are besides: a result in the cache is a small file."""
    more = len(remarks) - REMARKS
    return remarks if more <= 0 else [*remarks[:REMARKS], f"{more} more remarks like these"]


_ARRAYS = ("lowest", "steps", "key_weights", "key_scale", "key_offset")


def write_coding(path: Path, coding: Coding) -> None:
    """Write the arrays of a coding; the same coding gives the same bytes."""
    np.savez(path, **{name: getattr(coding, name) for name in _ARRAYS})


def read_coding(path: Path, normalisation: str) -> Coding:
    """Read what `write_coding` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Coding(normalisation, **{name: arrays[name] for name in _ARRAYS})


def check_software(versions: dict[str, str]) -> None:
    """Refuse to compute with other versions than those that a key stands for.

    Raises:
        DeviceError: a version differs.
    """
    own = software()
    for name, wanted in versions.items():
        if own.get(name) != wanted:
            raise DeviceError(
                f"{platform.node()}: expected {name} {wanted}, as the machine that plans the builds has, found "
                f"{own.get(name)}; install the same versions on every worker"
            )


def _fetched(cache: Cache, value: dict[str, Any], path: Path) -> Path:
    """Fetch what the planning machine has put into the cache; gives the path.

    Raises:
        MissingError: it is not there.
        DataError: as for `Cache`.
    """
    try:
        return cache.fetch(Content(value["sha256"], value["size"]), path)
    except MissingError as problem:
        raise MissingError(
            f"{platform.node()}: {problem}; every worker must reach the same cache under this address"
        ) from None


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _said() -> Iterator[list[str]]:
    """What the libraries warn of meanwhile."""
    kept, at = _Kept(), logging.getLogger("spade_edge")
    at.addHandler(kept)
    try:
        yield kept.lines
    finally:
        at.removeHandler(kept)
