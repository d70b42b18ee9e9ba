"""A bundle as an OCI artifact: a small manifest that names each file of the bundle by its hash and size.

The format is OCI's image manifest 1.1 with an artifact type. The first layer is the bundle's `manifest.json`, the next
ones are its signatures, then come the payload files by name. Every registry of this kind keeps such a manifest byte for
byte, so the same bundle has the same digest everywhere. What comes from a registry is read strictly.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from spade_edge.runtime.bundle.manifest import FILE, HASH, Manifest
from spade_edge.runtime.errors import DataError
from spade_edge.runtime.fields import Fields, parse

BUNDLE = "application/vnd.spade-edge.bundle.v1"  # the artifact types
CHANNEL = "application/vnd.spade-edge.channel.v1"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"  # media types
CONFIG = "application/vnd.spade-edge.bundle.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
JSON = "application/json"
LINES = "application/jsonl"
BYTES = "application/octet-stream"
NOTHING = b"{}"  # the content of a config that says nothing, as OCI has it

LARGEST = 1 << 20  # bytes of a manifest; ours has 8,000
LARGEST_CONFIG = 64 << 10
MOST_LAYERS = 1000
LARGEST_BLOB = 1 << 40
LARGE = 1 << 20  # bytes of a file that is told, and that is taken over from another bundle rather than sent
TITLE, CREATED = "org.opencontainers.image.title", "org.opencontainers.image.created"
ALGORITHM = "sha256:"


@dataclass(frozen=True)
class Blob:
    """A file in a registry.

    Attributes:
        sha256: of its content, 64 hexadecimal digits.
        size: in bytes.
        media: media type.
        title: its name in the bundle; empty if it has none.
    """

    sha256: str
    size: int
    media: str
    title: str = ""

    @classmethod
    def of(cls, content: bytes, *, media: str, title: str = "") -> Blob:
        """The description of some bytes."""
        return cls(hashlib.sha256(content).hexdigest(), len(content), media, title)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"mediaType": self.media, "digest": f"{ALGORITHM}{self.sha256}", "size": self.size}
        return value | ({"annotations": {TITLE: self.title}} if self.title else {})

    @classmethod
    def from_fields(cls, fields: Fields, *, source: str) -> Blob:
        media, digest = fields.text("mediaType"), fields.text("digest")
        size, title = fields.integer("size", most=LARGEST_BLOB), ""
        if "annotations" in fields.names():
            own = fields.object("annotations")
            title = own.text(TITLE)
            own.done()
        fields.done()
        return cls(_hash_of(digest, source=source), size, media, title)


@dataclass(frozen=True)
class About:
    """What the config of a bundle's artifact says of it, for people.

    Attributes:
        bundle: SHA-256 of the bundle's `manifest.json`, 64 hexadecimal digits.
        schema: of the bundle.
        version: of the spade-edge that wrote it.
        created: time of the build, UTC, ISO 8601.
        images: number of good images that frames are matched with.
        threshold: of the score.
    """

    bundle: str
    schema: int
    version: str
    created: str
    images: int
    threshold: float

    @classmethod
    def of(cls, manifest: Manifest, raw: bytes) -> About:
        """What there is to say of a bundle.

        Args:
            manifest: of the bundle.
            raw: its bytes.
        """
        return cls(
            bundle=hashlib.sha256(raw).hexdigest(),
            schema=int(json.loads(raw)["schema"]),
            version=manifest.writer,
            created=manifest.created,
            images=int(manifest.included.sum()),
            threshold=manifest.threshold.score,
        )

    def to_bytes(self) -> bytes:
        return _bytes(vars(self))

    @classmethod
    def from_bytes(cls, raw: bytes, *, source: str) -> About:
        """Read a config.

        Raises:
            DataError: it is none.
        """
        fields = parse(raw, where=source, error=DataError)
        about = cls(
            bundle=_hash_of(f"{ALGORITHM}{fields.text('bundle')}", source=source),
            schema=fields.integer("schema"),
            version=fields.text("version"),
            created=fields.text("created"),
            images=fields.integer("images"),
            threshold=fields.number("threshold"),
        )
        fields.done()
        return about


@dataclass(frozen=True)
class Artifact:
    """What stands under one digest in a registry.

    Attributes:
        kind: `BUNDLE` or `CHANNEL`.
        config: describes it.
        layers: its files.
        created: time, ISO 8601; that of the build, so that the same bundle gives the same bytes.
    """

    kind: str
    config: Blob
    layers: tuple[Blob, ...]
    created: str

    def to_bytes(self) -> bytes:
        """The manifest; its SHA-256 is the digest of the artifact."""
        return _bytes(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": self.kind,
                "config": self.config.to_json(),
                "layers": [layer.to_json() for layer in self.layers],
                "annotations": {CREATED: self.created},
            }
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return self.config.size + sum(layer.size for layer in self.layers)

    @property
    def bundle(self) -> str:
        """SHA-256 of the bundle's `manifest.json`, by the first layer."""
        return self.layers[0].sha256

    @classmethod
    def from_bytes(cls, raw: bytes, *, kind: str, source: str) -> Artifact:
        """Read a manifest that may come from anywhere.

        Args:
            raw: the manifest.
            kind: the artifact type that it must have.
            source: what messages call it.

        Raises:
            DataError: it is something else, or has another form.
        """
        fields = parse(raw, where=source, error=DataError)
        found = fields.text("artifactType") if "artifactType" in fields.names() else "something else"
        if found != kind:
            raise DataError(f"{source}: expected what spade-edge has pushed, {kind}, found {found[:80]!r}")
        fields.integer("schemaVersion", least=2, most=2)
        fields.text("mediaType", among=(MANIFEST,))
        config = Blob.from_fields(fields.object("config"), source=source)
        layers = tuple(Blob.from_fields(own, source=source) for own in fields.items("layers"))
        own = fields.object("annotations")
        artifact = cls(kind, config, layers, own.text(CREATED))
        own.done()
        fields.done()
        artifact._check(source)
        return artifact

    def _check(self, source: str) -> None:
        """Refuse layers that cannot be those of a bundle or of a record.

        Raises:
            DataError: there are none, too many, two of one name, or the first is another one than expected.
        """
        titles = [layer.title for layer in self.layers]
        if not 1 <= len(titles) <= MOST_LAYERS or len(set(titles)) != len(titles):
            raise DataError(f"{source}: expected 1 to {MOST_LAYERS} files with different names, found others")
        if self.kind == BUNDLE and titles[0] != FILE:
            raise DataError(f"{source}: expected {FILE} as the first file, found {titles[0][:80]!r}")
        if self.config.size > LARGEST_CONFIG:
            raise DataError(f"{source}: expected a config of at most {LARGEST_CONFIG} bytes, found {self.config.size}")


def _bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def _hash_of(digest: str, *, source: str) -> str:
    found = digest.removeprefix(ALGORITHM)
    if not (digest.startswith(ALGORITHM) and HASH.fullmatch(found)):
        raise DataError(f"{source}: expected a digest of the form sha256:…, found {digest[:80]!r}")
    return found
