"""What outputs that are clients encrypt with; see `spade_edge.tools.tls`."""

from __future__ import annotations

import ssl
from pathlib import Path

from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.tls import fault, identify, trusting


def client_context(
    *, ca_file: Path | None, cert_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """What a client encrypts with. It checks the certificate and the name of the server.

    Args:
        ca_file: certificates by which the server is known, PEM; None for those of the system.
        cert_file: certificate of this client, PEM; None for none.
        key_file: private key of that certificate, PEM, not encrypted; None if it is in the same file.

    Raises:
        OutputError: a file cannot be read or used.
    """
    try:
        context = trusting(ca_file)
    except (OSError, ValueError) as problem:
        raise OutputError(f"{ca_file}: expected certificates in PEM format, found: {_words(problem)}") from None
    if cert_file is not None:
        try:
            identify(context, cert_file=cert_file, key_file=key_file)
        except (OSError, ValueError) as problem:
            raise OutputError(
                f"{cert_file}: expected a certificate and its private key in PEM format, found: {_words(problem)}"
            ) from None
    return context


def _words(problem: OSError | ValueError) -> str:
    return fault(problem) if isinstance(problem, OSError) else str(problem)
