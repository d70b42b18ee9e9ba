"""Files that hold a password or a token in their first line."""

from __future__ import annotations

from pathlib import Path

from spade_edge.tools.line.outputs.output import OutputError

LONGEST = 4096  # characters of a secret


def read_secret(path: Path) -> str:
    """The first line of a file, without spaces around it. Read it when it is needed, so that it may be changed.

    Raises:
        OutputError: the file cannot be read, or its first line is empty or too long. The message never quotes it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline(LONGEST + 2)
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise OutputError(f"{path}: expected a secret in its first line, found that it cannot be read: {why}") from None
    secret = line.strip()
    if not secret or len(secret) > LONGEST or not secret.isprintable():
        raise OutputError(
            f"{path}: expected a secret of 1 to {LONGEST} printable characters in its first line, found another one"
        )
    return secret
