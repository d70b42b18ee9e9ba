"""Encoding a gallery's items elsewhere, and bundles that are the same bit for bit."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_network import write_tiny_model

from spade_edge.galleries import BuildOptions, Views, build, pack
from spade_edge.galleries.encoding import Records, encode_file, record
from spade_edge.galleries.feature_extractor import FeatureExtractor
from spade_edge.galleries.progress import Progress
from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.matching.coding import Coding
from spade_edge.runtime.matching.normalisation import normalised
from spade_edge.runtime.network.pyramid import by_cell
from spade_edge.runtime.network.session import Session

TIME = "2026-11-28T06:00:00+00:00"
FREE = BuildOptions(created=TIME, place="free")


def packed(folder: Path, images: Path, model: Path, options: BuildOptions, **how: object) -> bytes:
    built = build(images, model=model, output=folder / "part.spade", options=options, **how)  # type: ignore[arg-type]
    return pack(built.path, folder / "part.tar").path.read_bytes()


@pytest.mark.parametrize(
    "options",
    [FREE, BuildOptions(created=TIME, exclude=("2.npy",), place=1), BuildOptions(created=TIME, profile="paper")],
    ids=["hnsw", "place", "paper"],
)
def test_the_same_inputs_give_the_same_bytes_whatever_the_threads(
    tmp_path: Path, good_images: Path, model: Path, options: BuildOptions
) -> None:
    one = packed(tmp_path / "one", good_images, model, replace(options, threads=1))
    two = packed(tmp_path / "two", good_images, model, replace(options, threads=2))
    assert one == two
    assert TIME.encode() in one


def test_a_disk_that_is_too_full_for_a_part_is_an_error_and_not_the_end_of_the_process(
    tmp_path: Path, good_images: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*where: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def elsewhere(
        extract: FeatureExtractor, coding: Coding, threads: int | None, progress: Progress
    ) -> Iterator[Records]:
        views, records = tmp_path / "views", tmp_path / "records.npy"
        views.write_bytes(extract.views([0]).tobytes())
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(OSError, match="No space left"):
            encode_file(views, records, count=1, model=model, source="model", coding=coding, threads=1)
        yield from ()
        raise DataError("seen")

    with pytest.raises(DataError, match="seen"):
        packed(tmp_path / "bundle", good_images, model, FREE, encode=elsewhere)


@pytest.mark.parametrize("created", ["", "yesterday", "2026-11-28T06:00:00", "2026-13-28T06:00:00+00:00"])
def test_a_time_needs_its_offset(created: str) -> None:
    with pytest.raises(UsageError, match="expected a time such as 2026"):
        BuildOptions(created=created)


@pytest.mark.parametrize("views", [Views(), Views(regions=((0, 0, 40, 40), (20, 20, 60, 60)))], ids=["one", "several"])
def test_parts_that_others_encode_make_the_same_bundle(tmp_path: Path, part: object, model: Path, views: Views) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(6):
        np.save(images / f"{seed}.npy", part(seed))  # type: ignore[operator]
    options = replace(FREE, views=views)
    lengths = []

    def elsewhere(
        extract: FeatureExtractor, coding: Coding, threads: int | None, progress: Progress
    ) -> Iterator[Records]:
        for share in np.array_split(np.arange(len(extract)), 4):
            lengths.append(len(share))
            (tmp_path / "views").write_bytes(extract.views(share.tolist()).tobytes())
            encode_file(
                tmp_path / "views",
                tmp_path / "records.npy",
                count=len(share),
                model=model,
                source="model",
                coding=coding,
                threads=2,
            )
            yield np.load(tmp_path / "records.npy", mmap_mode="r", allow_pickle=False)

    here = packed(tmp_path / "here", images, model, options)
    assert packed(tmp_path / "there", images, model, options, encode=elsewhere) == here
    assert sum(lengths) == 6 * max(1, len(views.regions)) and len(lengths) == 4


def test_a_record_holds_what_a_naive_computation_finds(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model.onnx", size=(64, 64))
    views = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    (tmp_path / "views").write_bytes(views.tobytes())
    session = Session.open(model)
    card = session.card
    features = sum(card.span(level) ** 2 * level.channels for level in card.levels)
    rng = np.random.default_rng(1)
    coding = Coding(
        normalisation="root",
        lowest=np.zeros(3, np.float32),
        steps=np.full(3, 1 / 200, np.float32),
        key_weights=rng.integers(-9, 10, (features, 5)).astype(np.int8),
        key_scale=np.full(5, 1e-3, np.float32),
        key_offset=np.full(5, 60, np.float32),
    )
    encode_file(tmp_path / "views", tmp_path / "r.npy", count=2, model=model, source="m", coding=coding, threads=None)
    records = np.load(tmp_path / "r.npy", allow_pickle=False)
    assert records.dtype == record(card, coding) and records.shape == (2,)
    for view, one in zip(views, records, strict=True):
        (pyramid,) = session(view[np.newaxis])
        assert np.array_equal(one["descriptor"], pyramid.descriptor)
        wanted = [
            np.clip(np.rint(level * 200), 0, 127).astype(np.int64) for level in normalised(pyramid, "root").levels
        ]
        inside = []
        for level, codes in zip(card.levels, wanted, strict=True):
            span = card.span(level)
            cells = by_cell(codes, span) if span > 1 else codes.reshape(-1, 1, level.channels)
            inside.append(cells.reshape(card.cells, -1))
            stored = one[level.output].astype(np.int64)
            # The finest level is ordered by cell, the others row by row.
            mine = cells.reshape(-1, level.channels) if level is card.levels[0] else codes.reshape(-1, level.channels)
            assert np.abs(stored - mine).max() <= 1 and (stored != mine).mean() < 1e-3  # at the edge of a step
        keys = np.clip(np.rint(np.concatenate(inside, axis=1) @ coding.key_weights * 1e-3 + 60), 0, 127)
        assert np.abs(one["keys"].astype(int) - keys).max() <= 1
        assert one["squares"].shape == (card.cells, card.side**2) and (one["squares"] >= 0).all()
