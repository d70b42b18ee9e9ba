"""A scorer that follows its bundle: whole generations, between two frames, and the former one if a new one is bad."""

from __future__ import annotations

import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from altered import altered
from fake_gpu import Machine
from fake_line import until
from numpy.typing import NDArray
from tiny_network import write_tiny_model

from spade_edge.galleries import BuildOptions, Built, build, set_threshold, teach_in, undo
from spade_edge.runtime import BundleError, DeviceError, FollowingScorer, FrameError, FrameResult, Scorer
from spade_edge.runtime import following as following_module
from spade_edge.runtime.bundle.manifest import FILE, Manifest

Frames = Callable[..., NDArray[np.uint8]]
LONG = 60  # seconds; no test waits so long unless something is wrong
SWITCHES = 50
SAME = ("score", "threshold", "p", "verdict", "reason", "regions", "nearest", "bundle")  # beside the map


@dataclass(frozen=True)
class Generations:
    """A folder that holds the files of several generations, and their manifests.

    Attributes:
        bundle: the folder.
        manifests: by what distinguishes the generation.
    """

    bundle: Path
    manifests: dict[str, bytes]

    def put(self, name: str) -> str:
        """Put a generation in force as `publish` does, in one rename; gives the name that results carry."""
        return put(self.bundle, self.manifests[name])

    def alone(self, name: str, folder: Path) -> Path:
        """A bundle with one generation only."""
        folder.mkdir()
        (folder / FILE).write_bytes(self.manifests[name])
        for payload in Manifest.read(folder).files.values():
            os.link(self.bundle / payload.name, folder / payload.name)
        return folder


def put(bundle: Path, manifest: bytes) -> str:
    new = bundle / "new"
    new.write_bytes(manifest)
    new.replace(bundle / FILE)
    return sha256(manifest).hexdigest()[:16]


@pytest.fixture(scope="module")
def sources(edge: Built, model: Path, good_images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of one product: as built, with another threshold, with another gallery, and with another network too."""
    folder = tmp_path_factory.mktemp("generations")
    fewer = shutil.copytree(good_images, folder / "good")
    (fewer / "1.npy").unlink()
    other_model = write_tiny_model(folder / "model.onnx", size=(64, 64), seed=1)
    build(fewer, model=model, output=folder / "gallery", options=BuildOptions(place=1))
    build(good_images, model=other_model, output=folder / "network", options=BuildOptions(place="free"))
    altered(edge.path, folder / "threshold", "threshold", score=1e-6, basis="manual")
    return {"first": edge.path, **{name: folder / name for name in ("threshold", "gallery", "network")}}


@pytest.fixture
def generations(sources: dict[str, Path], tmp_path: Path) -> Generations:
    bundle = tmp_path / "part.spade"
    bundle.mkdir()
    for source in sources.values():
        for path in source.iterdir():
            if path.is_file() and path.name != FILE and not (bundle / path.name).exists():
                shutil.copyfile(path, bundle / path.name)
    found = Generations(bundle, {name: (source / FILE).read_bytes() for name, source in sources.items()})
    assert len(set(found.manifests.values())) == 4
    found.put("first")
    return found


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Manifests are looked at more often, so that a test need not wait."""
    monkeypatch.setattr(following_module, "EVERY", 0.01)


def waited(following: FollowingScorer, bundle: str) -> Scorer:
    """The scorer, once this generation is in force."""
    end = time.monotonic() + LONG
    while following.newest().bundle.digest[:16] != bundle:
        assert time.monotonic() < end, "the generation is not taken"
        time.sleep(0.005)
    return following.scorer


def same(one: FrameResult, other: FrameResult) -> bool:
    return np.array_equal(one.heatmap, other.heatmap) and all(getattr(one, x) == getattr(other, x) for x in SAME)


class Clock:
    """A clock that is put forward."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def following_by(clock: Clock, bundle: Path, check: Callable[[Path], str] | None = None) -> FollowingScorer:
    def reopen(*, manifest_sha256: str, network: object) -> Scorer:
        return Scorer.open(bundle, manifest_sha256=manifest_sha256, network=network)  # type: ignore[arg-type]

    return FollowingScorer(bundle, reopen, check=check, clock=clock)


def tried(following: FollowingScorer) -> Scorer:
    """Look now, and wait for what the look has started."""
    following.newest()
    if following._thread is not None:
        following._thread.join(LONG)
    return following.newest()


@pytest.mark.usefixtures("often")
def test_every_frame_is_scored_by_exactly_the_generation_that_it_names(
    generations: Generations, part: Frames, tmp_path: Path
) -> None:
    frames = [part(seed, flaw=seed % 2 == 1) for seed in range(20, 26)]
    expected = {}
    for name in generations.manifests:
        scorer = Scorer.open(generations.alone(name, tmp_path / name))
        assert scorer.bundle.digest == sha256(generations.manifests[name]).hexdigest()
        expected[scorer.bundle.digest[:16]] = [scorer(frame) for frame in frames]
    assert len({results[1].score for results in expected.values()}) == 3  # the threshold changes no score

    results: list[tuple[int, FrameResult]] = []
    ended = threading.Event()
    with FollowingScorer.open(generations.bundle) as following:

        def score() -> None:
            while not ended.is_set():
                number = len(results) % len(frames)
                results.append((number, following(frames[number])))

        thread = threading.Thread(target=score)
        thread.start()
        try:
            order = np.random.default_rng(0).integers(0, 4, 12)
            for number in order:
                wanted = generations.put(list(generations.manifests)[number])
                waited(following, wanted)
                until(lambda wanted=wanted: results and results[-1][1].bundle == wanted)  # type: ignore[misc]
        finally:
            ended.set()
            thread.join(LONG)
    assert all(same(result, expected[result.bundle][number]) for number, result in results)
    assert {result.bundle for _, result in results} == {
        sha256(generations.manifests[list(generations.manifests)[number]]).hexdigest()[:16] for number in order
    } | {sha256(generations.manifests["first"]).hexdigest()[:16]}


@pytest.mark.usefixtures("often")
def test_a_change_by_the_library_is_taken_and_a_scorer_that_is_held_stays_as_it_is(
    generations: Generations, part: Frames
) -> None:
    with FollowingScorer.open(generations.bundle) as following:
        held, before = following.scorer, following(part(20, flaw=True))
        set_threshold(generations.bundle, score=1e9, reason="a test")
        digest = sha256((generations.bundle / FILE).read_bytes()).hexdigest()
        waited(following, digest[:16])
        after = following(part(20, flaw=True))
        assert (before.verdict, after.verdict) == ("defect", "good")
        assert after.score == before.score and after.bundle == digest[:16] != before.bundle
        assert same(held(part(20, flaw=True)), before)
        with pytest.raises(FrameError):
            following(part(20)[:0])
        assert following(part(20)[:, :, ::-1], channels="rgb").score == following(part(20)).score


@pytest.mark.usefixtures("often")
def test_a_reject_that_is_taught_in_is_good_from_the_next_generation_on_until_it_is_undone(
    sources: dict[str, Path], part: Frames, tmp_path: Path
) -> None:
    bundle, frame = shutil.copytree(sources["gallery"], tmp_path / "part.spade"), part(20, flaw=True)
    np.save(tmp_path / "reject.npy", frame)
    with FollowingScorer.open(bundle) as following:
        first = following(frame)
        teach_in(bundle, [tmp_path / "reject.npy"], reason="a test", even_so=True)
        taught = waited(following, sha256((bundle / FILE).read_bytes()).hexdigest()[:16])
        assert (first.verdict, taught(frame).verdict) == ("defect", "good")
        undo(bundle)
        assert same(waited(following, first.bundle)(frame), first)


@pytest.mark.usefixtures("often")
def test_the_network_is_opened_again_only_if_the_model_is_another_one(generations: Generations) -> None:
    with FollowingScorer.open(generations.bundle) as following:
        session = following.scorer.session
        for name in ("threshold", "gallery", "first"):
            assert waited(following, generations.put(name)).session is session
        other = waited(following, generations.put("network")).session
        assert other is not session and waited(following, generations.put("gallery")).session is not other


@pytest.mark.usefixtures("often")
def test_a_cuda_graph_is_not_shared_with_a_generation_that_is_being_opened(
    generations: Generations, install: Callable[[Machine], Machine]
) -> None:
    install(Machine())
    with FollowingScorer.open(generations.bundle, providers="cuda") as following:
        session = following.scorer.session
        assert waited(following, generations.put("gallery")).session is session
        session._fixed = object()  # type: ignore[attr-defined]
        assert waited(following, generations.put("first")).session is not session


def cut(generations: Generations) -> bytes:
    return generations.manifests["gallery"][:-100]


def of_a_lost_file(generations: Generations) -> bytes:
    before = {payload.name for payload in Manifest.from_text(generations.manifests["first"]).files.values()}
    named = Manifest.from_text(generations.manifests["gallery"]).files
    (generations.bundle / next(file.name for file in named.values() if file.name not in before)).unlink()
    return generations.manifests["gallery"]


def of_an_altered_file(generations: Generations) -> bytes:
    path = generations.bundle / Manifest.from_text(generations.manifests["gallery"]).files["keys"].name
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    return generations.manifests["gallery"]


@pytest.mark.parametrize("spoilt", [cut, of_a_lost_file, of_an_altered_file])
def test_a_broken_generation_is_reported_once_and_the_former_one_stays(
    generations: Generations,
    part: Frames,
    caplog: pytest.LogCaptureFixture,
    spoilt: Callable[[Generations], bytes],
) -> None:
    clock, first = Clock(), sha256(generations.manifests["first"]).hexdigest()
    following = following_by(clock, generations.bundle)
    before = following(part(20))
    put(generations.bundle, spoilt(generations))
    for _ in range(5):
        clock.seconds += 100
        assert tried(following).bundle.digest == first
    assert same(following(part(20)), before)
    assert len(caplog.records) == 1 and caplog.text.count("former generation") == 1
    assert "Traceback" not in caplog.text and str(generations.bundle) in caplog.records[0].getMessage()
    clock.seconds += 100
    wanted = generations.put("threshold")  # what is whole is taken, whatever was before
    assert tried(following).bundle.digest[:16] == wanted and len(caplog.records) == 1


def test_a_bundle_that_is_gone_for_a_while(
    generations: Generations, part: Frames, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    following = following_by(clock, generations.bundle)
    away = generations.bundle.with_name("away")
    generations.bundle.rename(away)
    clock.seconds += 1
    first = tried(following)
    assert following(part(20)).bundle == first.bundle.digest[:16] and len(caplog.records) == 1
    away.rename(generations.bundle)
    clock.seconds += 1
    assert tried(following) is first  # it is the generation that is in force
    wanted = generations.put("threshold")
    clock.seconds += 1
    assert tried(following).bundle.digest[:16] == wanted and len(caplog.records) == 1


@pytest.mark.usefixtures("often")
def test_a_link_that_leads_elsewhere_is_another_generation(generations: Generations, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(generations.alone("first", tmp_path / "one"))
    other = generations.alone("gallery", tmp_path / "two")
    with FollowingScorer.open(link) as following:
        link.unlink()
        link.symlink_to(other)
        waited(following, sha256(generations.manifests["gallery"]).hexdigest()[:16])


def test_a_generation_that_is_not_permitted_is_never_opened_and_is_asked_for_ever_more_rarely(
    generations: Generations, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, asked = Clock(), []
    permitted = {generations.put("first")}

    def check(path: Path) -> str:
        digest = sha256((path / FILE).read_bytes()).hexdigest()
        asked.append(clock.seconds)
        if digest[:16] not in permitted:
            raise BundleError("expected a signature, found none")
        return digest

    following = following_by(clock, generations.bundle, check)
    start = clock.seconds
    opened = []
    real = Scorer.open
    monkeypatch.setattr(Scorer, "open", lambda *x, **own: opened.append(own["manifest_sha256"]) or real(*x, **own))
    unsigned = generations.put("gallery")
    asked.clear()
    while clock.seconds < start + 200:
        clock.seconds += 0.25
        tried(following)
    waits = np.diff([start, *asked])
    assert waits[0] <= 0.5 and np.all(np.abs(waits[1:] - [1, 2, 4, 8, 16, 32, 60, 60][: len(waits) - 1]) <= 0.5)
    assert len(caplog.records) == 1 and "expected a signature" in caplog.text and opened == []
    permitted.add(unsigned)  # the signature comes later
    clock.seconds += 60
    assert tried(following).bundle.digest[:16] == unsigned and [one[:16] for one in opened] == [unsigned]
    assert len(caplog.records) == 1


def test_the_manifest_that_was_checked_is_the_one_that_is_opened(
    generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()

    def check(path: Path) -> str:
        digest = sha256((path / FILE).read_bytes()).hexdigest()
        if digest != first:
            put(path, generations.manifests["network"])  # it is exchanged after the check
        return digest

    first = sha256(generations.manifests["first"]).hexdigest()
    following = following_by(clock, generations.bundle, check)
    generations.put("gallery")
    clock.seconds += 1
    assert tried(following).bundle.digest == first
    assert len(caplog.records) == 1 and "manifest" in caplog.text


def test_whatever_opening_raises_the_line_runs_on(
    generations: Generations, part: Frames, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    following = following_by(clock, generations.bundle)
    generations.put("gallery")

    def fail(*_: object, **__: object) -> Scorer:
        raise MemoryError("no room")

    monkeypatch.setattr(Scorer, "open", fail)
    clock.seconds += 1
    assert tried(following).bundle.digest == sha256(generations.manifests["first"]).hexdigest()
    assert following(part(20)).verdict == "good" and "no room" in caplog.text


def test_a_first_generation_that_is_not_permitted_is_an_error(generations: Generations) -> None:
    def check(path: Path) -> str:
        raise BundleError("expected a signature, found none")

    with pytest.raises(BundleError, match="expected a signature"):
        FollowingScorer.open(generations.bundle, check=check)
    (generations.bundle / FILE).unlink()
    with pytest.raises(BundleError):
        FollowingScorer.open(generations.bundle)


@pytest.mark.usefixtures("often")
def test_a_generation_that_fails_the_self_test_is_not_taken(
    generations: Generations, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Scorer) -> None:
        raise DeviceError("expected the results of the workstation, found others")

    with FollowingScorer.open(generations.bundle, self_test=True) as following:
        first = following.scorer
        monkeypatch.setattr(Scorer, "self_test", fail)
        generations.put("gallery")
        end = time.monotonic() + LONG
        while not caplog.records and time.monotonic() < end:
            assert following.newest() is first
            time.sleep(0.01)
    assert "of the workstation" in caplog.text and following.newest() is first


def test_nothing_is_looked_for_between_two_looks_nor_after_the_end(generations: Generations) -> None:
    clock = Clock()
    following = following_by(clock, generations.bundle)
    first, wanted = following.scorer, generations.put("gallery")
    clock.seconds += 0.1
    assert following.newest() is first and following._thread is None
    clock.seconds += 0.15
    assert following.newest() is first  # it does not wait for what it has started
    assert tried(following).bundle.digest[:16] == wanted
    clock.seconds += 1
    following.newest()
    assert following._thread is None  # a manifest that is as it was is not read again
    generations.put("first")
    clock.seconds += 1
    following.newest()  # it starts to open the generation, which ends too late
    following.close()
    for _ in range(3):
        clock.seconds += 100
        assert following.newest().bundle.digest[:16] == wanted
    assert [thread for thread in threading.enumerate() if thread.name == "new generation"] == []


@pytest.mark.usefixtures("often")
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted as Linux does")
def test_former_generations_are_let_go(generations: Generations, part: Frames) -> None:
    def handles() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with FollowingScorer.open(generations.bundle) as following:
        following(part(20))
        former, counts = [], []
        for number in range(SWITCHES):
            former.append(weakref.ref(following.scorer.bundle.gallery))
            waited(following, generations.put(("gallery", "first")[number % 2]))
            following(part(20))
            tried(following)  # no other thread has files open now
            counts.append(handles())
        assert sum(gallery() is not None for gallery in former) <= 1
        assert max(counts[2:]) <= max(counts[:2])
