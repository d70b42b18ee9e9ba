"""`sign`, `verify`, and the commands that open only signed bundles."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")

from command_line import run
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.manifest import FILE
from spade_edge.tools.signing import PublicKey, new_key, sign, verify
from spade_edge.tools.signing.keys import needs_passphrase

Frames = Callable[..., NDArray[np.uint8]]
LONG = 60  # seconds; no test waits so long unless something is wrong


@pytest.fixture
def bundle(edge: Built, tmp_path: Path) -> Path:
    copy = tmp_path / "part.spade"
    shutil.copytree(edge.path, copy)
    return copy


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "line.key")
    return tmp_path / "line.key"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A terminal on which these answers are typed."""

    def answers(*lines: str) -> None:
        left = list(lines)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(getpass, "getpass", lambda _: left.pop(0))

    return answers


def test_a_bundle_is_signed_and_verified(bundle: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest, fingerprint = sha256((bundle / FILE).read_bytes()).hexdigest(), PublicKey.read(f"{key}.pub").fingerprint
    code, out, err = run(capsys, "verify", "--bundle", bundle, "--key", f"{key}.pub")
    assert code == 3 and out == "" and err.count("\n") == 1 and digest[:16] in err and fingerprint[:16] in err
    code, out, err = run(capsys, "sign", "--bundle", bundle, "--key", key, "--json")
    assert code == 0 and err == "" and json.loads(out)["manifest"] == digest and json.loads(out)["key"] == fingerprint
    code, out, _ = run(capsys, "verify", "--bundle", bundle, "--key", f"{key}.pub", "--json")
    assert code == 0 and json.loads(out) == {
        "manifest": digest,
        "key": fingerprint,
        "files": len(verify_files(bundle)),
    }
    for verb, given in (("sign", key), ("verify", f"{key}.pub")):
        code, out, _ = run(capsys, verb, "--bundle", bundle, "--key", given)
        assert code == 0 and digest[:16] in out and fingerprint[:16] in out


def verify_files(bundle: Path) -> dict[str, Any]:
    files: dict[str, Any] = json.loads((bundle / FILE).read_text())["files"]
    return files


def test_a_new_key(tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: Callable[..., None]) -> None:
    new = tmp_path / "new.key"
    code, out, err = run(capsys, "sign", "--new-key", new, "--json")
    assert code == 0 and "not encrypted" in err and json.loads(out)["key"] == PublicKey.read(f"{new}.pub").fingerprint
    code, _, err = run(capsys, "sign", "--new-key", new)
    assert code == 2 and err.count("\n") == 1 and str(new) in err
    typed("a phrase", "a phrase")
    code, out, err = run(capsys, "sign", "--new-key", tmp_path / "b.key", "--passphrase-prompt")
    assert code == 0 and err == "" and needs_passphrase(tmp_path / "b.key") and "a phrase" not in out
    typed("a phrase", "another")
    code, _, _ = run(capsys, "sign", "--new-key", tmp_path / "c.key", "--passphrase-prompt")
    assert code == 2 and not list(tmp_path.glob("c.key*"))


def test_a_passphrase_comes_from_a_file_or_the_terminal(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: Callable[..., None]
) -> None:
    (tmp_path / "passphrase").write_text("a phrase\n")
    key = tmp_path / "b.key"
    assert run(capsys, "sign", "--new-key", key, "--passphrase-file", tmp_path / "passphrase")[0] == 0
    code, _, err = run(capsys, "sign", "--bundle", bundle, "--key", key)
    assert code == 2 and "terminal" in err and "--passphrase-file" in err
    typed("wrong")
    code, _, err = run(capsys, "sign", "--bundle", bundle, "--key", key)
    assert code == 3 and err.count("\n") == 1 and "wrong" not in err
    for typed_or_file in (["--passphrase-file", tmp_path / "passphrase"], []):
        shutil.rmtree(bundle / "signatures", ignore_errors=True)
        typed("a phrase")
        assert run(capsys, "sign", "--bundle", bundle, "--key", key, *typed_or_file)[0] == 0
        verify(bundle, f"{key}.pub")


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such bits")
def test_a_key_that_others_may_read_is_pointed_out(bundle: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key.chmod(0o640)
    code, _, err = run(capsys, "sign", "--bundle", bundle, "--key", key)
    assert code == 0 and "chmod 600" in err


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["--bundle", "b"],
        ["--key", "k"],
        ["--new-key", "n", "--key", "k"],
        ["--new-key", "n", "--bundle", "b"],
        ["--new-key", "n", "--passphrase-prompt", "--passphrase-file", "p"],
        ["--new-key", "n", "--passphrase", "secret"],
    ],
)
def test_options_that_do_not_fit_together(line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "sign", *(tmp_path / x if len(x) == 1 else x for x in line))
    assert code == 2 and out == "" and err and list(tmp_path.iterdir()) == []


@pytest.fixture
def parts(part: Frames, tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    for name in ("good/0", "spot/1"):
        (folder / name).parent.mkdir(parents=True)
        np.save(folder / f"{name}.npy", part(20, flaw=name.startswith("spot")))
    return folder


def commands(bundle: Path, parts: Path) -> dict[str, list[object]]:
    return {
        "score": ["score", "--bundle", bundle, parts],
        "evaluate": ["evaluate", "--bundle", bundle, "--dataset", parts],
        "bench": ["bench", "--bundle", bundle, "--count", 2],
        "prepare": ["prepare", "--bundle", bundle, "--provider", "cpu"],
    }


@pytest.mark.parametrize("command", ["score", "evaluate", "bench", "prepare"])
def test_a_bundle_that_is_not_signed_is_not_opened(
    bundle: Path, key: Path, parts: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    line = [*commands(bundle, parts)[command], "--require-signature", f"{key}.pub"]
    code, out, err = run(capsys, *line)
    assert code == 3 and out == "" and err.splitlines()[-1].startswith(f"spade-edge: {bundle}: expected a signature")
    sign(bundle, key)
    code, out, _ = run(capsys, *line)
    assert code in (0, 1) and out
    manifest = (bundle / FILE).read_bytes()
    (bundle / FILE).write_bytes(b"{" + manifest)  # it would not even be JSON
    code, out, err = run(capsys, *line)
    assert code == 3 and out == "" and "expected a signature" in err.splitlines()[-1]
    (bundle / FILE).write_bytes(manifest)
    payload = bundle / verify_files(bundle)["descriptors"]["name"]
    payload.write_bytes(payload.read_bytes()[:-1] + b"\x01")
    code, out, err = run(capsys, *line)
    assert code == 3 and out == "" and "altered" in err.splitlines()[-1]


def test_one_of_several_keys_is_enough_and_a_bad_key_is_an_error(
    bundle: Path, key: Path, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_key(tmp_path / "other.key")
    sign(bundle, key)
    other = ["--require-signature", tmp_path / "other.key.pub"]
    assert run(capsys, "score", "--bundle", bundle, parts, *other)[0] == 3
    code, out, _ = run(capsys, "score", "--bundle", bundle, parts, *other, "--require-signature", f"{key}.pub")
    digest = sha256((bundle / FILE).read_bytes()).hexdigest()
    assert code == 1 and [json.loads(line)["bundle"] for line in out.splitlines()] == [digest[:16]] * 2
    code, out, err = run(capsys, "score", "--bundle", bundle, parts, "--require-signature", tmp_path / "absent.pub")
    assert code == 3 and out == "" and err.count("\n") == 1


def test_without_the_package_one_line_names_the_extra(
    bundle: Path, key: Path, parts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(bundle, key)
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for line in (
        ["score", "--bundle", bundle, parts, "--require-signature", f"{key}.pub"],
        ["verify", "--bundle", bundle, "--key", f"{key}.pub"],
        ["sign", "--bundle", bundle, "--key", key],
        ["sign", "--new-key", bundle.parent / "new.key"],
    ):
        code, out, err = run(capsys, *line)
        assert code == 4 and out == "" and err.count("\n") == 1 and "spade-edge[sign]" in err
    assert run(capsys, "score", "--bundle", bundle, parts)[0] == 1


def test_a_run_that_has_an_end_follows_no_bundle(bundle: Path, parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "score", "--bundle", bundle, parts, "--follow-bundle")
    assert code == 2 and out == "" and err.count("\n") == 1
