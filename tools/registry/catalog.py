"""What a registry has: the versions of each bundle, with their tags, and channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spade_edge.galleries.signature_files import FOLDER, NAME
from spade_edge.runtime.errors import DataError
from spade_edge.tools.registry.artifact import BUNDLE, LARGEST_CONFIG, About, Artifact
from spade_edge.tools.registry.reference import RECORD
from spade_edge.tools.registry.registry import Registry
from spade_edge.tools.remote import UnreachableError


@dataclass(frozen=True)
class Published:
    """A version of a bundle.

    Attributes:
        name: of the bundle.
        digest: of the artifact, 64 hexadecimal digits.
        tags: that point at it, channels among them.
        channels: those of them that are channels.
        size: bytes of its files.
        about: what its config says.
        signed_by: starts of the fingerprints of the keys of its signatures, by their names; nothing is verified.
    """

    name: str
    digest: str
    tags: tuple[str, ...]
    channels: tuple[str, ...]
    size: int
    about: About
    signed_by: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As `spade-edge fleet list --json` prints it."""
        return {
            "name": self.name,
            "digest": self.digest,
            "tags": list(self.tags),
            "channels": list(self.channels),
            "bytes": self.size,
            **vars(self.about),
            "signed_by": list(self.signed_by),
        }


def published(registry: Registry, name: str) -> tuple[tuple[Published, ...], tuple[str, ...]]:
    """The versions of a bundle that have a tag, the newest build first, and the problems with others.

    Raises:
        MissingError: there is no such bundle.
        DataError: the registry cannot be read.
    """
    tags = registry.tags(name)
    channels = {tag.removesuffix(RECORD) for tag in tags if tag.endswith(RECORD)}
    found: dict[Artifact, list[str]] = {}
    problems: list[str] = []
    for tag in (one for one in tags if not one.endswith(RECORD)):
        try:
            raw = registry.manifest(name, tag)
            artifact = Artifact.from_bytes(raw, kind=BUNDLE, source=f"{registry.address}: {name}:{tag}")
        except UnreachableError:
            raise
        except DataError as problem:
            problems.append(str(problem))
            continue
        found.setdefault(artifact, []).append(tag)
    versions = []
    for artifact, own in found.items():
        try:
            versions.append(_version(registry, name, artifact, tuple(own), channels))
        except UnreachableError:
            raise
        except DataError as problem:
            problems.append(str(problem))
    versions.sort(key=lambda one: (one.about.created, one.digest), reverse=True)
    return tuple(versions), tuple(problems)


def _version(registry: Registry, name: str, artifact: Artifact, tags: tuple[str, ...], channels: set[str]) -> Published:
    source = f"{registry.address}: {name}@{artifact.digest[:16]}"
    about = About.from_bytes(registry.read(name, artifact.config, most=LARGEST_CONFIG), source=source)
    titles = (layer.title.removeprefix(f"{FOLDER}/") for layer in artifact.layers)
    keys = tuple(sorted(match[2] for title in titles if (match := NAME.fullmatch(title))))
    own = tuple(tag for tag in tags if tag in channels)
    return Published(name, artifact.digest, tags, own, artifact.size, about, keys)
