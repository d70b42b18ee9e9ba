"""A bundle: the folder that a device loads. Everything in it is checked before it is used."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.array_file import REPAIR, LargestByte, mapped_array
from spade_edge.runtime.bundle.budget import check_budget
from spade_edge.runtime.bundle.golden import Golden
from spade_edge.runtime.bundle.manifest import FILE, Manifest, Payload
from spade_edge.runtime.bundle.manifest_file import manifest_bytes
from spade_edge.runtime.bundle.mapped_files import MappedFiles
from spade_edge.runtime.bundle.observation import SAMPLES, Observation
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.runtime.matching.coding import LARGEST
from spade_edge.runtime.matching.entries import belong_together
from spade_edge.runtime.matching.gallery import CodedGallery, Features, Gallery
from spade_edge.runtime.matching.graph_search import Search
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.preprocessing.mask import Mask

VERIFY = ("hashes", "structure")
WHITE = 255
SAMPLED_ITEMS, SAMPLED_POSITIONS = 8, 16  # of the gallery, evenly spaced, that are looked at when a bundle is opened
SQUARES_AGREE = 1e-4  # relative; sums of float32 products in another order differ by 1e-6


@dataclass(frozen=True)
class Bundle:
    """An open bundle; its large arrays are memory-mapped.

    Attributes:
        path: the folder.
        manifest: its description.
        digest: SHA-256 of `manifest.json`, 64 hexadecimal digits: the identity of this generation.
        gallery: features of the good images.
        thumbnails: (items, h, w, 3) uint8 BGR, the reduced views of the good images, to show the nearest good patch.
        indexes: HNSW indexes of the cells' keys: one, or one per view if the gallery is per view; none with projection
            "none".
        entries: (items * cells,) int32, the label by which the indexes know each cell, see `entries.entries_of`; None
            without indexes.
        keys: (items * cells, D) uint8, the keys of all cells, if cells are matched by place; else None.
        mask: the pixels of a frame that are ignored; None for none.
        baseline: (h, w) float32, the anomaly map expected of good parts; None if scores do not use it.
        reference: (rows, columns, 3) float32 BGR, the mean of the good parts, by which frames are aligned; None if they
            are not.
        golden: frames to test a device with; None if the bundle has none.
        left_out, reach: (items * cells, side * side) float32, the leave-one-out distances of the good images, and
            (items * cells,) int32, how far the last candidate of each cell is; None where they are not kept. No frame
            needs them.
    """

    path: Path
    manifest: Manifest
    digest: str
    gallery: Features
    thumbnails: NDArray[np.uint8]
    indexes: tuple[Index, ...]
    entries: NDArray[np.int32] | None
    keys: NDArray[np.uint8] | None
    mask: Mask | None
    baseline: NDArray[np.float32] | None
    reference: NDArray[np.float32] | None
    golden: Golden | None
    left_out: NDArray[np.float32] | None = None
    reach: NDArray[np.int32] | None = None

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.path / self.manifest.files["model"].name

    def matcher(
        self, *, search: str | None = None, searches: Sequence[Search] = (), threads: int | None = None
    ) -> Matcher:
        """Matches views with the good images as the bundle was built, or by another search; see `Matcher.open`."""
        manifest = self.manifest
        return Matcher.open(
            self.gallery,
            manifest.matching,
            indexes=self.indexes,
            entries=self.entries,
            keys=self.keys,
            included=manifest.counts,
            selected=manifest.selected,
            search=search,
            searches=searches,
            threads=threads,
            source=str(self.path),
        )

    @cached_property
    def mapped(self) -> MappedFiles:
        """The files of the arrays that are memory-mapped."""
        roles = [*(level.output for level in self.manifest.model.levels), "thumbnails"]
        arrays = (*self.gallery.levels, self.thumbnails)
        files = self.manifest.files
        return MappedFiles({self.path / files[role].name: array for role, array in zip(roles, arrays, strict=True)})

    @classmethod
    def open(cls, path: Path, *, verify: str = "hashes", manifest_sha256: str | None = None) -> Bundle:
        """Open a bundle folder.

        Args:
            path: the folder.
            verify: "hashes" checks the SHA-256 of every file; "structure" checks only sizes, shapes and the index's
                links, for very large galleries on a trusted disk.
            manifest_sha256: SHA-256 that the manifest must have, 64 hexadecimal digits, for example of one whose
                signature was checked; None for any.

        Raises:
            BundleError: a file is missing, truncated, altered, or differs from the manifest, or the manifest is another
                one than expected.
            UsageError: no such `verify`, or one that leaves out the hashes together with `manifest_sha256`.
        """
        if verify not in VERIFY:
            raise UsageError(f"expected verify to be one of {', '.join(VERIFY)}, found {verify!r}")
        if manifest_sha256 is not None and verify != VERIFY[0]:
            raise UsageError(
                f"expected verify={VERIFY[0]!r} with manifest_sha256, because only hashes tie files to a manifest, "
                f"found {verify!r}"
            )
        text, digest = manifest_bytes(path, sha256=manifest_sha256)
        manifest = Manifest.from_text(text, source=str(path / FILE))
        try:
            check_budget(
                manifest.model, manifest.matching, manifest.layout, images=len(manifest.names), size=manifest.size
            )
        except UsageError as problem:
            raise BundleError(f"{path}: {problem}, and build the bundle again") from None
        coded = () if manifest.scales is None else tuple(level.output for level in manifest.model.levels)
        largest = {role: LargestByte() for role in coded}
        for role, payload in manifest.files.items():
            _check_file(path, payload, hashes=verify == "hashes", look=largest.get(role))
        card, count = manifest.model, len(manifest.names) * len(manifest.layout)
        descriptors = _finite(path, manifest.files["descriptors"], (count, card.image_channels))
        indexes: tuple[Index, ...] = ()
        entries = keys = None
        if manifest.scales is None:
            gallery: Features = Gallery(
                card=card,
                levels=tuple(
                    _array(path, manifest.files[level.output], (count, *card.grid(level), level.channels), np.float32)
                    for level in card.levels
                ),
                descriptors=descriptors,
                names=manifest.names,
                squares=_finite(path, manifest.files["squares"], (count, *card.grid(card.levels[0]))),
            )
        else:
            gallery, indexes = _coded(path, manifest, descriptors)
            for role, found in largest.items():  # 0 if no hash was asked for, so that nothing was read
                _check_codes(path / manifest.files[role].name, found.value)
            entries = _entries(path, manifest, indexes) if indexes else None
            keys = None if indexes else _keys(path, manifest)
        _check_sample(path, manifest, gallery)
        return cls(
            path=path,
            manifest=manifest,
            digest=digest,
            gallery=gallery,
            thumbnails=_array(path, manifest.files["thumbnails"], (count, None, None, 3), np.uint8),
            indexes=indexes,
            entries=entries,
            keys=keys,
            mask=_mask(path, manifest),
            baseline=_finite(path, manifest.files["baseline"], manifest.canvas.size)
            if "baseline" in manifest.files
            else None,
            reference=_reference(path, manifest),
            golden=_golden(path, manifest) if manifest.golden else None,
            left_out=_kept(path, manifest, "left_out", (count * card.cells, card.side**2), np.float32),
            reach=_kept(path, manifest, "reach", (count * card.cells,), np.int32),
        )


def _coded(path: Path, manifest: Manifest, descriptors: NDArray[np.float32]) -> tuple[CodedGallery, tuple[Index, ...]]:
    assert manifest.scales is not None  # noqa: S101  (the caller has checked)
    card, count, files = manifest.model, len(descriptors), manifest.files
    cells = card.cells
    roles, dimensions = manifest.index_roles(), len(manifest.scales.key_scale)
    indexes = tuple(Index.read(path / files[role].name) for role in roles)
    for role, index in zip(roles, indexes, strict=True):
        if index.keys.shape[1] != dimensions:
            raise BundleError(
                f"{path / files[role].name}: expected keys of {dimensions} numbers, found {index.keys.shape[1]}; "
                f"{REPAIR}"
            )
    record = sum(card.span(level) ** 2 * level.channels for level in card.levels)
    weights = np.array(_array(path, files["key_weights"], (record, dimensions), np.int8))
    if (weights == -128).any():  # ARM processors without byte dot products compute wrong sums with it
        raise BundleError(
            f"{path / files['key_weights'].name}: expected weights from -127 to 127, found -128; {REPAIR}"
        )
    gallery = CodedGallery(
        card=card,
        levels=tuple(
            _array(path, files[level.output], (count, card.positions(level), level.channels), np.uint8)
            for level in card.levels
        ),
        descriptors=descriptors,
        names=manifest.names,
        coding=manifest.scales.coding(np.asarray(weights), manifest.matching.normalisation),
        squares=_finite(path, files["squares"], (count * cells, card.side**2)),
    )
    return gallery, indexes


def _keys(path: Path, manifest: Manifest) -> NDArray[np.uint8]:
    assert manifest.scales is not None  # noqa: S101  (the caller has checked)
    count = len(manifest.names) * len(manifest.layout) * manifest.model.cells
    keys = np.array(_array(path, manifest.files["keys"], (count, len(manifest.scales.key_scale)), np.uint8))
    if (keys > LARGEST).any():
        raise BundleError(
            f"{path / manifest.files['keys'].name}: expected numbers up to {LARGEST}, found {int(keys.max())}; {REPAIR}"
        )
    return keys


def _entries(path: Path, manifest: Manifest, indexes: tuple[Index, ...]) -> NDArray[np.int32]:
    cells = manifest.model.cells
    count = len(manifest.names) * len(manifest.layout) * cells
    entries = np.array(_array(path, manifest.files["entries"], (count,), np.int32))
    included = np.repeat(np.tile(manifest.counts, len(manifest.layout) // len(indexes)), cells)
    for role, index, own in zip(manifest.index_roles(), indexes, np.split(entries, len(indexes)), strict=True):
        if not belong_together(own, index.labels, included):
            raise BundleError(
                f"{path / manifest.files['entries'].name}: expected for each cell of the included images its label in "
                f"{manifest.files[role].name}, and for no other, found others; {REPAIR}"
            )
    return entries


def _reference(path: Path, manifest: Manifest) -> NDArray[np.float32] | None:
    if manifest.alignment is None:
        return None
    array = _finite(path, manifest.files["reference"], (None, None, 3))
    if not 0 < min(array.shape[:2]) <= max(array.shape[:2]) <= max(manifest.model.view.size):
        raise BundleError(
            f"{path / manifest.files['reference'].name}: expected a picture no larger than the view, found "
            f"{array.shape[1]}x{array.shape[0]}; {REPAIR}"
        )
    if array.min() < 0 or array.max() > WHITE:
        raise BundleError(
            f"{path / manifest.files['reference'].name}: expected colours from 0 to {WHITE}, found others; {REPAIR}"
        )
    return array


def _kept(path: Path, manifest: Manifest, role: str, shape: tuple[int, ...], dtype: type[Any]) -> NDArray[Any] | None:
    return _array(path, manifest.files[role], shape, dtype) if role in manifest.files else None


def _golden(path: Path, manifest: Manifest) -> Golden:
    card, files, count = manifest.model, manifest.files, len(manifest.golden)
    kept = (count, SAMPLES, SAMPLES)
    levels = [_finite(path, files[f"golden_{x.output}"], (*kept, x.channels)) for x in card.levels]
    distances = _finite(path, files["golden_distances"], (count, *card.grid(card.levels[0])))
    heatmaps = _finite(path, files["golden_heatmaps"], (count, *manifest.canvas.size))
    # The threshold may have been changed since the frames were scored.
    verdicts = [judged.over if judged.score > manifest.threshold.score else judged.under for judged in manifest.golden]
    observations = tuple(
        Observation(
            features=tuple(level[i] for level in levels),
            distances=distances[i],
            heatmap=heatmaps[i],
            score=manifest.golden[i].score,
            verdict=verdicts[i],
        )
        for i in range(count)
    )
    return Golden(frames=_frames(path, files["golden_frames"], count), observations=observations)


def _frames(path: Path, payload: Payload, count: int) -> NDArray[np.uint8]:
    """Grey or colour frames."""
    grey = (count, None, None)
    try:
        return _array(path, payload, grey, np.uint8)
    except BundleError:
        return _array(path, payload, (*grey, 3), np.uint8)


def _mask(path: Path, manifest: Manifest) -> Mask | None:
    if not manifest.layout.masked:
        return None
    pixels = _array(path, manifest.files["mask"], manifest.layout.frame or (), np.uint8)
    if not pixels.any():
        raise BundleError(f"{path / manifest.files['mask'].name}: expected pixels to look at, found none; {REPAIR}")
    return Mask(np.asarray(pixels) > 0)


def check_files(bundle: Path, manifest: Manifest) -> None:
    """Refuse a manifest whose files are not all there and whole.

    Raises:
        BundleError: a file is missing, or has another size or hash.
    """
    for payload in manifest.files.values():
        _check_file(bundle, payload)


def _check_file(
    bundle: Path, payload: Payload, *, hashes: bool = True, look: Callable[[bytes], None] | None = None
) -> None:
    """Refuse a file of a bundle that is missing or not as the manifest says.

    Args:
        bundle: the folder.
        payload: what the manifest says of the file.
        hashes: whether its SHA-256 is checked beside its size.
        look: is shown the file as it is read, see `spade_edge.runtime.digest.sha256`.

    Raises:
        BundleError: there is no such file, or it is another one.
    """
    path = bundle / payload.name
    try:
        if path.exists() and not path.is_file():  # reading a pipe or device could block forever
            raise BundleError(f"{path}: expected a file of the bundle, found a folder, pipe or device; {REPAIR}")
        size = path.stat().st_size
        if size != payload.size:
            raise BundleError(f"{path}: expected {payload.size} bytes, found {size}; {REPAIR}")
        if hashes and sha256(path, look) != payload.sha256:
            raise BundleError(
                f"{path}: expected SHA-256 {payload.sha256[:16]}…, found another, so the file was altered; {REPAIR}"
            )
    except OSError as problem:
        raise BundleError(f"{path}: expected a file of the bundle, found: {problem.strerror}; {REPAIR}") from None


def _array(bundle: Path, payload: Payload, shape: tuple[int | None, ...], dtype: type[Any]) -> NDArray[Any]:
    """Map a .npy file into memory; `None` in `shape` allows any length but 0."""
    path = bundle / payload.name
    try:
        return mapped_array(path, shape, dtype)
    except OSError as problem:
        if problem.errno == errno.ENOMEM:
            raise
        raise BundleError(f"{path}: expected a file of the bundle, found: {problem.strerror}; {REPAIR}") from None


def _check_codes(path: Path, largest: int) -> None:
    """Refuse codes that the products of 8-bit numbers are not exact for."""
    if largest > LARGEST:
        raise BundleError(f"{path}: expected codes up to {LARGEST}, found {largest}; {REPAIR}")


def _check_sample(path: Path, manifest: Manifest, gallery: Features) -> None:
    """Refuse features and squared lengths that do not belong together, and codes that are none, by a few of them.

    Files that were mixed up are found so. Squares that are too small at a few places only are found where they do harm:
    a distance is below zero, and matching refuses it.
    """
    items = np.unique(np.linspace(0, len(gallery.descriptors) - 1, SAMPLED_ITEMS).round().astype(np.intp))
    positions = np.unique(np.linspace(0, math.prod(gallery.grid) - 1, SAMPLED_POSITIONS).round().astype(np.intp))
    at = np.repeat(items, len(positions)), np.tile(positions, len(items))
    if isinstance(gallery, CodedGallery):
        for level, codes in zip(manifest.model.levels, gallery.levels, strict=True):
            every = max(1, codes.shape[1] // SAMPLED_POSITIONS)
            some = np.stack([codes[item, ::every] for item in items])
            _check_codes(path / manifest.files[level.output].name, int(some.max()))
    lengths, stored = gallery.lengths(*at), gallery.stored_lengths(*at)
    if not np.allclose(stored, lengths, rtol=SQUARES_AGREE, atol=0):
        raise BundleError(
            f"{path / manifest.files['squares'].name}: expected the squared lengths of the embeddings in "
            f"{', '.join(manifest.files[level.output].name for level in manifest.model.levels)}, found others; {REPAIR}"
        )


def _finite(bundle: Path, payload: Payload, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    """Read a .npy file into memory: these are small beside the levels, and all of it is looked at anyway."""
    array = np.array(_array(bundle, payload, shape, np.float32))
    if not np.isfinite(array).all():
        raise BundleError(f"{bundle / payload.name}: expected finite numbers, found NaN or infinity; {REPAIR}")
    return array
