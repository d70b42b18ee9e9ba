"""How a client encrypts a connection, and knows whom it talks to."""

from __future__ import annotations

import ssl
from pathlib import Path


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """What a client encrypts with. It checks the certificate and the name of the server.

    Args:
        ca_file: certificates by which the server is known, PEM; None for those of the system.

    Raises:
        OSError, ValueError: the file cannot be read or used.
    """
    return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))


def identify(context: ssl.SSLContext, *, cert_file: Path, key_file: Path | None) -> None:
    """Let a client say who it is.

    Args:
        context: of the client.
        cert_file: its certificate, PEM.
        key_file: private key of that certificate, PEM, not encrypted; None if it is in the same file.

    Raises:
        OSError, ValueError: a file cannot be read or used.
    """
    # Without the last argument, an encrypted key would ask for its password on the terminal.
    context.load_cert_chain(str(cert_file), None if key_file is None else str(key_file), password=_no_password)


def fault(problem: OSError) -> str:
    """What went wrong with a connection, in words."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {problem.verify_message}"
    if isinstance(problem, ssl.SSLError):
        return f"no encrypted connection: {problem.reason or problem.strerror or 'refused'}"
    return problem.strerror or str(problem) or type(problem).__name__


def _no_password() -> str:
    raise ValueError("the key is encrypted; store it without a password, readable for the service only")
