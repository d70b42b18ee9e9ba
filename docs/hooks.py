"""Pages of the site that are made when it is built: the command line, and the documents in the repository's root."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/spade-edge/spade-edge"
DOCUMENTS = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md", "security.md": "SECURITY.md"}
COMMANDS = "<!-- commands -->"
COLUMNS = "96"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Fill in what a page takes from elsewhere."""
    name = page.file.src_uri
    if name in DOCUMENTS:
        return _on_site((ROOT / DOCUMENTS[name]).read_text(encoding="utf-8"))
    return markdown.replace(COMMANDS, commands()) if COMMANDS in markdown else markdown


def commands() -> str:
    """What `spade-edge COMMAND --help` prints, a section for each command."""
    from spade_edge.tools.cli.main import parser

    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    os.environ.update(COLUMNS=COLUMNS, NO_COLOR="1")
    try:
        sections = [_section(command, f"spade-edge {name}") for name, command in subcommands(parser()).items()]
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    return "\n".join(sections)


def subcommands(top: ArgumentParser) -> dict[str, ArgumentParser]:
    """The commands of a command line, by name."""
    (choices,) = (action.choices for action in top._actions if isinstance(action, _SubParsersAction))
    return dict(choices)


def _section(command: ArgumentParser, title: str) -> str:
    return f"## {title}\n\n```text\n{command.format_help().rstrip()}\n```\n"


def _on_site(document: str) -> str:
    """Links of a document in the root, as they are seen from docs/; what is not on the site is shown in the repository."""
    names = {document: page for page, document in DOCUMENTS.items()}

    def target(match: re.Match[str]) -> str:
        path, anchor = match["path"], match["anchor"] or ""
        if path in names:
            return f"]({names[path]}{anchor})"
        if path.startswith("docs/"):
            return f"]({path.removeprefix('docs/')}{anchor})"
        return f"]({REPOSITORY}/blob/main/{path}{anchor})"

    return re.sub(r"\]\((?![a-z]+:|#)(?P<path>[^)#]+)(?P<anchor>#[^)]*)?\)", target, document)
