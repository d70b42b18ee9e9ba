"""Options of the verbs that speak with a registry."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.cli.arguments import shown

if TYPE_CHECKING:
    from spade_edge.tools.registry import Reference, Registry
    from spade_edge.tools.signing import PublicKey

VARIABLE = "SPADE_EDGE_REGISTRY"  # of the environment


def address(text: str) -> str:
    """The address of a registry."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(
            f"expected a folder or an address such as oci://host:5000/path, found {shown(text)}"
        )
    return text


def reference(text: str) -> Reference:
    """NAME, NAME:TAG or NAME@DIGEST."""
    from spade_edge.tools.registry.reference import Reference

    try:
        return Reference.of(text)
    except UsageError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def tag(text: str) -> str:
    """A tag."""
    from spade_edge.tools.registry.reference import checked_tag

    try:
        return checked_tag(text)
    except UsageError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def add_registry(parser: argparse.ArgumentParser) -> None:
    """--registry and --plain-http: where bundles are published."""
    parser.add_argument(
        "--registry",
        type=address,
        metavar="ADDRESS",
        help="where bundles are published: oci://host:5000/path for an OCI registry, or a folder or an address of an "
        f"object store such as s3://plant/registry (default: the environment variable {VARIABLE})",
    )
    parser.add_argument(
        "--plain-http",
        action="store_true",
        help="talk to an OCI registry without encryption, for a network that nobody else is in; on this machine that "
        "is done anyway",
    )


def registry(chosen: argparse.Namespace) -> Registry:
    """The registry that a command line names.

    Raises:
        UsageError: it names none, or another kind of address.
        DeviceError: a package is not installed.
    """
    from spade_edge.tools.registry import open_registry

    given = chosen.registry or os.environ.get(VARIABLE, "")
    if not given:
        raise UsageError(f"expected --registry, or the environment variable {VARIABLE}, found neither")
    return open_registry(given, plain_http=chosen.plain_http)


def keys(chosen: argparse.Namespace) -> tuple[PublicKey, ...]:
    """The keys of --require-signature; none if any bundle will do.

    Raises:
        DataError: one cannot be read.
        DeviceError: cryptography is not installed.
    """
    from spade_edge.tools.signing.signing import read_keys

    return read_keys(chosen.require_signature) if chosen.require_signature else ()
