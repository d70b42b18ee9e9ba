"""Let many devices pull one roll-out while things fail: `python tests/soak/rollout.py [--devices 1000]`.

A registry (Debian's docker-registry) on loopback, and before it a proxy that spoils one request in twenty: it breaks
the answer off, alters a byte, answers 503, or is slow. On one device in twenty the disk is full at the first try, and
one in twenty loses its power then. One in a hundred was taught an image that the new bundle lacks, and has to refuse
it. Each device pulls until it has an answer, as `spade-edge fleet pull --watch` does, but without its pauses. After
every try the bundle in force must be the former one or the new one, whole. Seeded; prints one JSON object; exit code 1
if a device has something else, or has given up.
"""

from __future__ import annotations

import argparse
import errno
import gc
import http.client
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from interrupted_writes import SPACE, Killed, stopping
from object_stores import serving
from oci_registries import DockerRegistry
from tiny_network import write_tiny_model

from spade_edge.galleries import build, set_threshold, teach_in
from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.errors import SpadeError
from spade_edge.tools.fleet.rollout import Device, pull
from spade_edge.tools.registry import Reference, oci, open_registry, promote, push

FAULTS = 0.05  # of requests
FULL, POWERLESS, TAUGHT = 0.05, 0.05, 0.01  # of devices
KINDS = ("cut", "wrong", "unavailable", "slow")
TRIES = 20
PAUSE = 0.02  # seconds from a request that failed to the next, instead of half a second
SLOW = 0.2  # seconds
NAME, CHANNEL = "bolt", "production"


@dataclass
class Spoiled:
    """What the proxy has done.

    Attributes:
        seed: of its mischief.
        requests: that it passed on.
        sent: bytes of answers, without headers.
        faults: by kind.
    """

    seed: int
    requests: int = 0
    sent: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lock: Lock = field(default_factory=Lock)

    def next_fault(self) -> str:
        """What happens to the next request; empty for nothing."""
        with self.lock:
            self.requests += 1
            chance = random.Random(self.seed * 1_000_003 + self.requests)  # noqa: S311
            fault = chance.choice(KINDS) if chance.random() < FAULTS else ""
            if fault:
                self.faults[fault] += 1
            return fault


@contextmanager
def spoiling(port: int, spoiled: Spoiled) -> Iterator[int]:
    """A proxy before a web server; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fault = spoiled.next_fault()
            if fault == "unavailable":
                self.send_error(503)
                return
            behind = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                wanted = {"Accept": self.headers.get("Accept", "*/*")}
                behind.request(self.command, self.path, headers=wanted)
                answer = behind.getresponse()
                content = answer.read()
            finally:
                behind.close()
            self.send_response(answer.status)
            for name in ("Content-Type", "Docker-Content-Digest"):
                if (value := answer.headers.get(name)) is not None:
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.headers.get("Content-Length", str(len(content))))
            self.end_headers()
            if fault == "wrong" and content:
                content = content[:-1] + bytes([content[-1] ^ 1])
            if fault == "cut":
                content = content[: len(content) // 2]
            if fault == "slow":
                time.sleep(SLOW)
            with suppress(OSError):
                self.wfile.write(content)
                with spoiled.lock:
                    spoiled.sent += len(content)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with serving(Handler) as own:
        yield own


@dataclass(frozen=True)
class Pulled:
    """What became of a device.

    Attributes:
        tries: pulls until there was an answer.
        taken: whether the new bundle is in force.
        reason: why it is not; empty if it is.
        stopped: what stopped the tries before the last, by kind.
        fetched: bytes that the last pull fetched.
        seconds: of all tries.
        wrong: what was found in force that must not be; empty if nothing was.
    """

    tries: int
    taken: bool
    reason: str
    stopped: tuple[str, ...]
    fetched: int
    seconds: float
    wrong: str


def device(bundle: str, registry: str, seed: int, mishap: str, former: str, new: str) -> Pulled:
    """Pull until there is an answer; this runs in a process of its own.

    Args:
        bundle: folder of the bundle of this device.
        registry: its address.
        seed: of this device.
        mishap: of the first try: "full", "power" or "".
        former: SHA-256 of the manifest that is in force.
        new: SHA-256 of the one that the channel points at.
    """
    oci.SOONEST = PAUSE
    path, chance, began = Path(bundle), random.Random(seed), time.monotonic()  # noqa: S311
    stopped: list[str] = []
    for number in range(1, TRIES + 1):
        try:
            with open_try(path, mishap if number == 1 else "", at=chance.randint(1, 25)):
                found = pull(open_registry(registry), Reference.of(f"{NAME}:{CHANNEL}"), path, device=Device(threads=1))
        except Killed:
            stopped.append("power")
            gc.collect()  # a process that is gone holds no locks
        except SpadeError as problem:
            stopped.append(_kind(str(problem)))
        else:
            wrong = _wrong(path, {new} if found.accepted else {former})
            seconds = time.monotonic() - began
            return Pulled(number, found.accepted, found.reason, tuple(stopped), found.fetched, seconds, wrong)
        if wrong := _wrong(path, {former, new}):
            return Pulled(number, False, "", tuple(stopped), 0, time.monotonic() - began, wrong)
    return Pulled(TRIES, False, "gave up", tuple(stopped), 0, time.monotonic() - began, "")


@contextmanager
def open_try(bundle: Path, mishap: str, *, at: int) -> Iterator[None]:
    """A try in which something may happen at one of the operations on the disk."""
    if not mishap:
        yield
        return
    error, only = (Killed, None) if mishap == "power" else (errno.ENOSPC, SPACE)
    with stopping(bundle.parent, at=at, error=error, only=only):
        yield


def _kind(problem: str) -> str:
    if "No space" in problem:
        return "full"
    if "expected content with the SHA-256" in problem or "expected JSON" in problem:
        return "wrong"
    return "unreachable" if "tried" in problem else problem.rpartition(": ")[2][:60]


def _wrong(bundle: Path, allowed: set[str]) -> str:
    """What is wrong with the bundle in force; empty if nothing is."""
    raw = (bundle / FILE).read_bytes()
    if sha256(raw).hexdigest() not in allowed:
        return "another manifest"
    for payload in Manifest.read(bundle).files.values():
        content = (bundle / payload.name).read_bytes()
        if len(content) != payload.size or sha256(content).hexdigest() != payload.sha256:
            return f"{payload.name} is not whole"
    return ""


def _linked(source: str, target: str) -> None:
    """A file of a bundle on another device. Payload never changes; what changes or is locked must be its own."""
    if Path(source).suffix in (".npy", ".onnx", ".hnsw"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _digest(bundle: Path) -> str:
    return sha256((bundle / FILE).read_bytes()).hexdigest()


def _bundles(folder: Path) -> tuple[Path, Path, Path]:
    """The former bundle, the new one with twice as many images and the same network, and the former one taught."""
    model = write_tiny_model(folder / "model.onnx", size=(32, 32))
    (folder / "good").mkdir()
    for seed in range(16):
        frame = np.random.default_rng(seed).integers(0, 256, (96, 80, 3), np.uint8)
        np.save(folder / "good" / f"{seed}.npy", frame)
    (folder / "fewer").mkdir()
    for seed in range(8):
        shutil.copy(folder / "good" / f"{seed}.npy", folder / "fewer")
    former = build(folder / "fewer", model=model, output=folder / "former.spade").path
    new = build(folder / "good", model=model, output=folder / "new.spade").path
    set_threshold(new, score=1e6, reason="a roll-out")
    taught = Path(shutil.copytree(former, folder / "taught.spade"))
    np.save(folder / "taught.npy", np.random.default_rng(99).integers(0, 256, (96, 80, 3), np.uint8))
    teach_in(taught, [folder / "taught.npy"], reason="a reject that was good", even_so=True)
    return former, new, taught


def simulate(folder: Path, *, devices: int, seed: int, workers: int) -> dict[str, Any]:
    """Roll a bundle out; `failures` of what is returned should be empty."""
    former, new, taught = _bundles(folder)
    chance = random.Random(seed)  # noqa: S311
    registry = DockerRegistry(folder / "registry")
    spoiled = Spoiled(seed)
    try:
        direct = open_registry(f"oci://127.0.0.1:{registry.port}/plant")
        push(new, direct, Reference(NAME, tag="v2"))
        promote(direct, Reference(NAME, tag="v2"), CHANNEL)
        with spoiling(registry.port, spoiled) as port, _pool(workers) as pool:
            jobs = []
            for number in range(devices):
                source = taught if chance.random() < TAUGHT else former
                luck = chance.random()
                mishap = "full" if luck < FULL else "power" if luck < FULL + POWERLESS else ""
                place = folder / "devices" / str(number) / "part.spade"
                shutil.copytree(source, place, copy_function=_linked)
                about = (str(place), f"oci://127.0.0.1:{port}/plant", seed + number, mishap)
                jobs.append((source, pool.submit(device, *about, _digest(source), _digest(new))))
            began = time.monotonic()
            ended = [(source, job.result()) for source, job in jobs]
            seconds = time.monotonic() - began
    finally:
        registry.stop()
    found = [each for _, each in ended]
    failures = [each.wrong for each in found if each.wrong]
    failures += [each.reason for each in found if each.reason == "gave up"]
    failures += ["a taught device has lost its image" for source, each in ended if source == taught and each.taken]
    taken = [each for each in found if each.taken]
    stayed = Counter(each.reason.partition(",")[0] for each in found if not each.taken)
    times = sorted(each.seconds for each in found)
    return {
        "devices": devices,
        "taken_at_the_first_try": sum(1 for each in taken if each.tries == 1),
        "taken_after_more_tries": sum(1 for each in taken if each.tries > 1),
        "most_tries": max(each.tries for each in found),
        "stayed": dict(stayed),
        "tries_that_were_stopped": dict(Counter(kind for each in found for kind in each.stopped)),
        "half_a_bundle_or_another": len(failures),
        "requests": spoiled.requests,
        "faults": dict(spoiled.faults),
        "bytes_of_the_registry": spoiled.sent,
        "bytes_of_a_device": median(each.fetched for each in taken),
        "bytes_of_the_bundle": sum(payload.size for payload in Manifest.read(new).files.values()),
        "seconds": round(seconds, 1),
        "seconds_of_a_device": {"p50": round(median(times), 3), "longest": round(times[-1], 3)},
        "failures": failures[:20],
    }


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=4)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spade-edge-rollout-") as scratch:
        summary = simulate(Path(scratch), devices=chosen.devices, seed=chosen.seed, workers=chosen.workers)
    print(json.dumps(summary, indent=2))
    sys.exit(1 if summary["failures"] else 0)
