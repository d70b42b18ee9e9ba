"""Where bundles are published: an OCI registry, an object store or a folder, all with the same verbs.

reference     which bundle is meant: NAME:TAG or NAME@DIGEST
artifact      a bundle as an OCI artifact: one small manifest that names each file by its hash
registry      what a registry does, and finding a version in it
oci           registries that speak OCI's protocol; the only module that imports oras
objects       the same artifacts in an object store or a folder
opening       the registry at an address
publishing    puts a bundle into a registry
channel       moves a channel such as "production" from one bundle to another, and keeps a record of it
catalog       what there is: names, tags, channels
"""

from __future__ import annotations

from spade_edge.tools.registry.artifact import About, Artifact, Blob
from spade_edge.tools.registry.catalog import Published, published
from spade_edge.tools.registry.channel import Move, Promotion, back, moves, promote
from spade_edge.tools.registry.opening import open_registry
from spade_edge.tools.registry.publishing import Pushed, push
from spade_edge.tools.registry.reference import Reference
from spade_edge.tools.registry.registry import Registry, artifact_of, digest_of

__all__ = [
    "About",
    "Artifact",
    "Blob",
    "Move",
    "Promotion",
    "Published",
    "Pushed",
    "Reference",
    "Registry",
    "artifact_of",
    "back",
    "digest_of",
    "moves",
    "open_registry",
    "promote",
    "published",
    "push",
]
