"""`fleet push`, `list`, `promote` and `pull` as people type them, against a docker-registry and a folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from command_line import run
from fake_line import LONG, until
from kept_parts import keep
from numpy.typing import NDArray
from oci_registries import closed_port, docker_registry

from spade_edge.galleries import Built, set_threshold
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.cli.fleet.registry_arguments import VARIABLE
from spade_edge.tools.fleet.rollout import pulling
from spade_edge.tools.registry import Blob, open_registry
from spade_edge.tools.registry import oci as oci_module

Part = Callable[..., NDArray[np.uint8]]
CAPSYS = pytest.CaptureFixture[str]


def digest(bundle: Path) -> str:
    return hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("docker")) as server:
        yield f"oci://127.0.0.1:{server.port}"


@pytest.fixture(params=["docker", "folder"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a registry, which is also in the environment."""
    address = f"{request.getfixturevalue('docker')}/plant-{os.urandom(4).hex()}"
    if request.param == "folder":
        address = str(tmp_path / "registry")
    monkeypatch.setenv(VARIABLE, address)
    return address


@pytest.fixture
def bundles(edge: Built, tmp_path: Path) -> tuple[Path, Path]:
    """A bundle, and one that rejects everything."""
    first, strict = tmp_path / "first.spade", tmp_path / "strict.spade"
    for place in (first, strict):
        shutil.copytree(edge.path, place)
    set_threshold(strict, score=Manifest.read(first).threshold.score / 1e6, reason="strict")
    return first, strict


def test_a_bundle_goes_through_a_registry_to_a_device_and_back(
    address: str, bundles: tuple[Path, Path], tmp_path: Path, part: Part, capsys: CAPSYS
) -> None:
    first, strict = bundles
    code, out, _ = run(capsys, "fleet", "push", first, "press-3/bolt")
    assert code == 0 and out.startswith(f"press-3/bolt:{digest(first)[:16]} in {address} is sha256:")
    code, out, _ = run(capsys, "fleet", "push", strict, "press-3/bolt:strict", "--json")
    assert code == 0 and json.loads(out)["bundle"] == digest(strict)
    code, out, _ = run(
        capsys, "fleet", "promote", f"press-3/bolt:{digest(first)[:16]}", "production", "--who", "Anna", "--reason", "x"
    )
    assert code == 0 and out.endswith("its first version\n")

    device, report = tmp_path / "device.spade", tmp_path / "report.json"
    code, out, _ = run(capsys, "fleet", "pull", "press-3/bolt:production", "--bundle", device, "--report", report)
    assert code == 0 and "is in force; there is no bundle in force to compare it with" in out
    assert digest(device) == digest(first)
    keep(tmp_path / "evidence", first, [part(seed, size=(96, 80)) for seed in range(20, 24)])
    code, out, _ = run(capsys, "fleet", "promote", "press-3/bolt:strict", "production", "--json")
    assert code == 0 and json.loads(out)["bundle"] == digest(strict)
    pull = ("fleet", "pull", "press-3/bolt:production", "--bundle", device, "--evidence", tmp_path / "evidence")
    code, out, err = run(capsys, *pull, "--report", report)
    assert (code, out, len(err.splitlines())) == (3, "", 1)
    assert err.startswith("spade-edge: press-3/bolt:production") and "it rejects " in err
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["accepted"] is False and found["in_force"] == digest(first) and found["wanted"] == digest(strict)
    assert found["changes"]["frames"] == 4 and found["reason"] in err
    code, out, _ = run(capsys, *pull, "--most-changes", "100%", "--json")
    assert code == 0 and json.loads(out)["accepted"] is True and digest(device) == digest(strict)

    code, out, _ = run(capsys, "fleet", "promote", "press-3/bolt", "production", "--back")
    assert code == 0 and f"(bundle {digest(first)[:16]})" in out
    code, out, _ = run(capsys, *pull)
    assert code == 0 and digest(device) == digest(first)

    code, out, _ = run(capsys, "fleet", "list")
    assert code == 0 and "press-3/bolt" in out and "Anna" not in out
    code, out, _ = run(capsys, "fleet", "list", "press-3/bolt")
    lines = out.splitlines()
    assert code == 0 and "channel production, the oldest move first" in lines
    assert [line.split("  ")[-1].strip() for line in lines[-3:]] == ["promote: x", "promote", "back"]
    assert "Anna" in lines[-3]
    code, out, _ = run(capsys, "fleet", "list", "press-3/bolt", "--json")
    value = json.loads(out)
    assert [move["verb"] for move in value["channels"]["production"]] == ["promote", "promote", "back"]
    assert {one["bundle"] for one in value["versions"]} == {digest(first), digest(strict)}


def test_a_push_that_was_killed_does_not_keep_the_others_from_being_listed(
    address: str, bundles: tuple[Path, Path], capsys: CAPSYS
) -> None:
    assert run(capsys, "fleet", "push", bundles[0], "nut")[0] == 0
    open_registry(address).put("bolt", Blob.of(b"x", media="x"), b"x")  # of a push that got no further
    code, out, err = run(capsys, "fleet", "list")
    assert (code, err) == (0, "") and [line.split()[0] for line in out.splitlines()] == ["name", "nut"]
    code, out, err = run(capsys, "fleet", "list", "bolt")
    assert (code, out, len(err.splitlines())) == (3, "", 1)


def test_a_registry_must_be_named(capsys: CAPSYS, monkeypatch: pytest.MonkeyPatch, bundles: tuple[Path, Path]) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for verb in (("list",), ("push", bundles[0], "bolt"), ("promote", "bolt:x", "y")):
        code, out, err = run(capsys, "fleet", *verb)
        assert (code, out) == (2, "") and f"expected --registry, or the environment variable {VARIABLE}" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("pull", "bolt", "--bundle", "x"), "expected NAME:TAG or NAME@DIGEST, found 'bolt'"),
        (("pull", "Bolt:x", "--bundle", "x"), "expected the name of a bundle in lower-case letters"),
        (("pull", "bolt:x", "--bundle", "x", "--most-changes", "101%"), "expected a share such as 0.02 or 2%"),
        (("pull", "bolt:x", "--bundle", "x", "--most-changes", "-1%"), "expected"),
        (("pull", "bolt:x", "--bundle", "x", "--deadline", "0"), "expected more than 0 and at most"),
        (("pull", "bolt:x", "--bundle", "x", "--watch", "0.1"), "expected 1 to 86400 seconds"),
        (("pull", "bolt@12345678", "--bundle", "x", "--watch", "60"), "expected NAME:CHANNEL with --watch"),
        (("pull", "bolt:x", "--bundle", "x", "--evidence", "a", "--config", "b"), "not allowed with"),
        (("pull", "bolt:x", "--bundle", "x", "--camera", "top"), "expected --camera with --evidence or --config"),
        (("pull", "bolt:x", "--bundle", "x", "--plain-http"), "address that begins with oci://"),
        (("promote", "bolt:x", "production", "--back"), "expected the name of a bundle alone with --back"),
        (("promote", "bolt:x", "pro duction"), "expected a tag"),
        (("list", "bolt:x"), "expected the name of a bundle alone"),
        (("list", "--registry", "ftp9://x"), "expected"),
        (("list", "--registry", "oci://ann:secret@host/x"), "without a login"),
    ],
)
def test_what_is_asked_wrongly_is_said_in_one_line(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, capsys: CAPSYS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    code, out, err = run(capsys, "fleet", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert expected in err and "secret" not in err


def test_a_registry_that_is_down_is_one_line_and_a_report(
    tmp_path: Path, bundles: tuple[Path, Path], capsys: CAPSYS, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("oras")
    monkeypatch.setattr(oci_module, "SOONEST", 0.0)
    before, report = digest(bundles[0]), tmp_path / "report.json"
    with closed_port() as port:
        monkeypatch.setenv(VARIABLE, f"oci://127.0.0.1:{port}/plant")
        code, out, err = run(capsys, "fleet", "pull", "bolt:x", "--bundle", bundles[0], "--report", report)
    assert (code, out, len(err.splitlines())) == (3, "", 1) and "Connection refused" in err
    found = json.loads(report.read_text(encoding="utf-8"))
    assert (found["accepted"], found["in_force"], found["wanted"]) == (False, before, "")
    assert found["reason"] in err and digest(bundles[0]) == before


def test_a_pull_that_is_ended_leaves_the_former_report(
    bundles: tuple[Path, Path], tmp_path: Path, capsys: CAPSYS, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, strict = bundles
    registry, device, report = tmp_path / "registry", tmp_path / "device.spade", tmp_path / "report.json"
    for tag, bundle in (("v1", first), ("v2", strict)):
        run(capsys, "fleet", "push", bundle, f"bolt:{tag}", "--registry", registry)
    pull = ("--bundle", device, "--registry", registry, "--report", report)
    assert run(capsys, "fleet", "pull", "bolt:v1", *pull)[0] == 0
    before = report.read_bytes()

    def ended(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(pulling, "trial", ended)
    assert run(capsys, "fleet", "pull", "bolt:v2", *pull)[0] == 143
    assert report.read_bytes() == before and digest(device) == digest(first)


def test_what_is_no_report_is_not_replaced(tmp_path: Path, capsys: CAPSYS) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    code, _, err = run(
        capsys, "fleet", "pull", "bolt:x", "--bundle", tmp_path / "x", "--registry", tmp_path, "--report",
        tmp_path / "letter.txt",
    )  # fmt: skip
    assert code == 2 and "did not write" in err and (tmp_path / "letter.txt").read_text() == "dear"


LINE = """
[line]
require_signature = ["line.key.pub"]
[recipe.bolt]
bundle = "device.spade"
[camera.top]
source = "0"
recipe = "bolt"
deadline_ms = 600000
[evidence]
folder = "evidence"
"""


def test_the_configuration_of_the_line_says_the_rest(
    bundles: tuple[Path, Path], tmp_path: Path, part: Part, capsys: CAPSYS
) -> None:
    pytest.importorskip("cryptography")
    first, strict = bundles
    device, registry = tmp_path / "device.spade", tmp_path / "registry"
    shutil.copytree(first, device)
    (tmp_path / "line.toml").write_text(LINE, encoding="utf-8")
    run(capsys, "sign", "--new-key", tmp_path / "line.key")
    run(capsys, "fleet", "push", strict, "bolt:unsigned", "--registry", registry)
    run(capsys, "sign", "--bundle", strict, "--key", tmp_path / "line.key")
    run(capsys, "fleet", "push", strict, "bolt:signed", "--registry", registry)
    pull = ("--bundle", device, "--registry", registry, "--config", tmp_path / "line.toml", "--json")

    code, out, _ = run(capsys, "fleet", "pull", "bolt:unsigned", *pull)
    assert code == 3 and "expected a signature" in json.loads(out)["reason"]
    keep(tmp_path / "evidence", first, [part(seed, size=(96, 80)) for seed in range(20, 24)])
    code, out, _ = run(capsys, "fleet", "pull", "bolt:signed", *pull)
    assert code == 3 and json.loads(out)["changes"]["frames"] == 4
    code, out, _ = run(capsys, "fleet", "pull", "bolt:signed", *pull, "--deadline", "0.000001", "--most-changes", "1")
    assert code == 3 and "within 1e-06 ms" in json.loads(out)["reason"]
    code, out, _ = run(capsys, "fleet", "pull", "bolt:signed", *pull, "--shadow", "0")
    assert code == 0 and json.loads(out)["changes"] is None and digest(device) == digest(strict)
    code, _, err = run(capsys, "fleet", "pull", "bolt:signed", *pull, "--camera", "tpo")
    assert code == 2 and "expected --camera among those of the recipe bolt (top), found 'tpo'" in err
    code, _, err = run(capsys, "fleet", "pull", "bolt:signed", *pull[2:], "--bundle", tmp_path / "other.spade")
    assert code == 2 and "expected a recipe with the bundle" in err


def test_watching_ends_when_it_is_asked_to_and_leaves_nothing(
    bundles: tuple[Path, Path], tmp_path: Path, capsys: CAPSYS
) -> None:
    first, strict = bundles
    registry, device = tmp_path / "registry", tmp_path / "device.spade"
    run(capsys, "fleet", "push", first, "bolt:v1", "--registry", registry)
    run(capsys, "fleet", "push", strict, "bolt:v2", "--registry", registry)
    run(capsys, "fleet", "promote", "bolt:v1", "production", "--registry", registry)
    command = [sys.executable, "-m", "spade_edge", "fleet", "pull", "bolt:production", "--registry", str(registry)]
    process = subprocess.Popen(
        [*command, "--bundle", str(device), "--watch", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lines: list[str] = []
    assert process.stdout is not None
    reader = Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        until(lambda: lines)
        assert digest(device) == digest(first)
        run(capsys, "fleet", "promote", "bolt:v2", "production", "--registry", registry)
        until(lambda: len(lines) == 2)
        assert digest(device) == digest(strict)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 143
    finally:
        process.kill()
        process.wait(LONG)
    reader.join(LONG)
    assert len(lines) == 2 and not [path for path in tmp_path.rglob(".*") if "building" in path.name]
