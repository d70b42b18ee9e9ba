"""From what a plan names to what a worker needs: images and files are looked at, hashed, and get a key."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from spade_edge.galleries import BuildOptions
from spade_edge.galleries.progress import Progress
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.errors import DataError
from spade_edge.tools.datasets import Entry, read_dataset, scan
from spade_edge.tools.datasets.dataset_file import SUFFIX
from spade_edge.tools.fleet.keys import key_of_bundle, software
from spade_edge.tools.fleet.plan import BundlePlan
from spade_edge.tools.fleet.settings import files_of
from spade_edge.tools.remote import Store, divided, local_path, shown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """A bundle that is to be built, with all that it depends on.

    Attributes:
        bundle: as planned.
        key: of the work, see `keys`.
        entries: the images of good parts.
        options: of the build, with the time that the bundle gets.
        model: the network's file on this machine.
        files: on this machine, that the options name.
    """

    bundle: BundlePlan
    key: str
    entries: tuple[Entry, ...]
    options: BuildOptions
    model: Path
    files: dict[str, Path]


@dataclass
class Preparation:
    """Looks at what plans name; what several of them name is looked at once.

    Attributes:
        folder: for models that are fetched.
        progress: wraps the images that are hashed, with a label.
    """

    folder: Path
    progress: Progress
    _images: dict[tuple[str, bool], tuple[Entry, ...]] = field(default_factory=dict)
    _models: dict[str, tuple[Path, str]] = field(default_factory=dict)

    def work(self, bundle: BundlePlan) -> Work:
        """The work that a bundle is.

        Raises:
            DataError: images, model or a file of the options cannot be reached or read.
            UsageError, DeviceError: as for `scan` and `Store`.
        """
        model, digest = self._model(bundle.model)
        files = files_of(bundle.options)
        hashes = {role: _hashed(path, role) for role, path in files.items()}
        entries = self._entries(bundle.images, follow_links=bundle.options.follow_links)
        good = tuple(entry for entry in entries if entry.good)
        if len(good) < len(entries):
            log.warning(
                "%s: %d of %d images are left out, because their label is neither empty nor good",
                bundle.name,
                len(entries) - len(good),
                len(entries),
            )
        key = key_of_bundle(good, model=digest, options=bundle.options, files=hashes, versions=software())
        options = replace(bundle.options, created=bundle.options.created or newest(good))
        return Work(bundle, key, good, options, model, files)

    def _entries(self, images: str, *, follow_links: bool) -> tuple[Entry, ...]:
        place = (images, follow_links)
        if place not in self._images:
            self._images[place] = (
                read_dataset(images)
                if images.lower().endswith(SUFFIX)
                else scan(images, follow_links=follow_links, progress=self.progress)
            )
        return self._images[place]

    def _model(self, address: str) -> tuple[Path, str]:
        if address not in self._models:
            path = local_path(address)
            if path is None:
                folder, name = divided(address)
                path = self.folder / f"model-{len(self._models)}.onnx"
                Store(folder).fetch(name, path)
            self._models[address] = path, _hashed(path, "model")
        return self._models[address]


def newest(entries: Sequence[Entry]) -> str | None:
    """The time of the image that was changed last, UTC; None if no image has one. It is that of the bundle, too.

    Raises:
        DataError: an image has a time that is none.
    """
    times = []
    for entry in entries:
        if entry.time:
            try:
                time = datetime.fromisoformat(entry.time.replace("Z", "+00:00"))
                times.append(time.astimezone(timezone.utc) if time.tzinfo else time.replace(tzinfo=timezone.utc))
            except (ValueError, OverflowError):
                raise DataError(
                    f"{shown(entry.address)}: expected a time such as 2026-11-30T06:00:00+00:00, found {entry.time!r}; "
                    "scan the images again"
                ) from None
    return max(times).isoformat(timespec="seconds") if times else None


def _hashed(path: Path, what: str) -> str:
    try:
        return sha256(path)
    except OSError as problem:
        raise DataError(f"{path}: expected the file of the {what}, found: {problem.strerror}") from None
