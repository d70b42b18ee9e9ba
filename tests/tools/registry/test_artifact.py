"""Artifacts, byte for byte, and manifests from strangers."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.registry.artifact import BUNDLE, CHANNEL, LARGEST_CONFIG, About, Artifact, Blob
from spade_edge.tools.registry.reference import Reference

A, B = "a" * 64, "b" * 64
# What `ARTIFACT` must be, written by hand after OCI's image manifest 1.1.
BYTES = (
    '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
    '"artifactType":"application/vnd.spade-edge.bundle.v1",'
    f'"config":{{"mediaType":"application/x","digest":"sha256:{B}","size":3}},'
    f'"layers":[{{"mediaType":"application/json","digest":"sha256:{A}","size":7,'
    '"annotations":{"org.opencontainers.image.title":"manifest.json"}},'
    f'{{"mediaType":"application/y","digest":"sha256:{B}","size":9,'
    '"annotations":{"org.opencontainers.image.title":"ä.npy"}}],'
    '"annotations":{"org.opencontainers.image.created":"2026-11-28T00:00:00+00:00"}}'
).encode()
ARTIFACT = Artifact(
    BUNDLE,
    Blob(B, 3, "application/x"),
    (Blob(A, 7, "application/json", "manifest.json"), Blob(B, 9, "application/y", "ä.npy")),
    "2026-11-28T00:00:00+00:00",
)


def read(raw: bytes, kind: str = BUNDLE) -> Artifact:
    return Artifact.from_bytes(raw, kind=kind, source="x")


def test_an_artifact_is_written_as_oci_has_it_and_read_back() -> None:
    assert ARTIFACT.to_bytes() == BYTES
    assert read(BYTES) == ARTIFACT
    assert ARTIFACT.digest == hashlib.sha256(BYTES).hexdigest()
    assert (ARTIFACT.bundle, ARTIFACT.size) == (A, 19)


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in json.loads(BYTES).items() if key != name}


def _layers(*layers: dict[str, Any]) -> dict[str, Any]:
    return json.loads(BYTES) | {"layers": list(layers)}


def _layer(**fields: Any) -> dict[str, Any]:
    return json.loads(BYTES)["layers"][0] | fields


TITLED = "org.opencontainers.image.title"


@pytest.mark.parametrize(
    "value",
    [
        [],
        None,
        *map(_without, json.loads(BYTES)),
        json.loads(BYTES) | {"schemaVersion": 1},
        json.loads(BYTES) | {"mediaType": "application/vnd.docker.distribution.manifest.v2+json"},
        json.loads(BYTES) | {"artifactType": CHANNEL},
        json.loads(BYTES) | {"artifactType": 7},
        json.loads(BYTES) | {"subject": {}},
        json.loads(BYTES) | {"config": _layer(size=LARGEST_CONFIG + 1)},
        _layers(),
        _layers(_layer(), _layer()),
        _layers(*(_layer(annotations={TITLED: f"{i}"}) for i in range(2000))),
        _layers(_layer(annotations={TITLED: "model.onnx"})),
        _layers(_layer(annotations={})),
        _layers(_layer(annotations={TITLED: "manifest.json", "x": "y"})),
        _layers(_layer(digest="sha512:" + A)),
        _layers(_layer(digest="sha256:../../etc/passwd")),
        _layers(_layer(digest="sha256:" + A.upper())),
        _layers(_layer(digest=A)),
        _layers(_layer(size=-1)),
        _layers(_layer(size=1 << 50)),
        _layers(_layer(size="7")),
        _layers(_layer(size=True)),
        _layers(_layer(urls=["http://elsewhere"])),
    ],
)
def test_a_manifest_of_another_form_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(DataError, match=r"^x: .*(expected|found)"):
        read(json.dumps(value).encode())


@pytest.mark.parametrize("raw", [b"", b"\xff", b"{" * 100_000, BYTES[:-1], BYTES.replace(b'"size":7', b'"size":NaN')])
def test_bytes_that_are_no_json_are_refused(raw: bytes) -> None:
    with pytest.raises(DataError, match="expected JSON"):
        read(raw)


def test_what_a_config_says_is_read_back_and_nothing_else_is() -> None:
    about = About(bundle=A, schema=9, version="spade-edge 1", created="2026", images=3, threshold=0.5)
    assert About.from_bytes(about.to_bytes(), source="x") == about
    assert about.to_bytes() == (
        b'{"bundle":"'
        + A.encode()
        + b'","schema":9,"version":"spade-edge 1","created":"2026","images":3,"threshold":0.5}'
    )
    for changed in ({"images": -1}, {"threshold": "x"}, {"bundle": "x"}, {"more": 1}):
        with pytest.raises(DataError):
            About.from_bytes(json.dumps(vars(about) | changed).encode(), source="x")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("bolt", ("bolt", "", "")),
        ("press-3/bolt:2026-11-28", ("press-3/bolt", "2026-11-28", "")),
        ("bolt:production", ("bolt", "production", "")),
        ("bolt@sha256:" + A, ("bolt", "", A)),
        ("bolt@" + "0" * 8, ("bolt", "", "00000000")),
    ],
)
def test_a_reference_has_a_name_and_a_tag_or_a_digest(text: str, parts: tuple[str, str, str]) -> None:
    found = Reference.of(text)
    assert (found.name, found.tag, found.digest) == parts


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "Bolt", "bolt:", "bolt:a b", "bolt:../x", "../bolt", "a//b", "a/", "/a", "bolt:-x", "bolt@",
        "bolt@12345", "bolt@sha256:xyz", "bolt@" + "a" * 65, "bolt:production.record", "bolt:" + A, "bolt:" + "a" * 121,
        "b" * 201, "a.", "bolt:ä", "b\nolt", "bolt:x\n", "bolt\n",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        Reference.of(text)
