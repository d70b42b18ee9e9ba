"""Pages of the site that are made when it is built: the command line, the options of a line, and the documents in the
repository's root.
"""

from __future__ import annotations

import os
import re
from argparse import Action, ArgumentParser, _HelpAction, _SubParsersAction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/spade-edge/spade-edge"
DOCUMENTS = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md", "security.md": "SECURITY.md"}
COMMANDS = "<!-- commands -->"
OPTIONS = "<!-- options of a line -->"
COLUMNS = "80"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Fill in what a page takes from elsewhere."""
    name = page.file.src_uri
    if name in DOCUMENTS:
        return _on_site((ROOT / DOCUMENTS[name]).read_text(encoding="utf-8"))
    for mark, made in ((COMMANDS, commands), (OPTIONS, options_of_a_line)):
        if mark in markdown:
            markdown = markdown.replace(mark, made())
    return markdown


def commands() -> str:
    """What `spade-edge COMMAND --help` tells, a section for each command."""
    from spade_edge.tools.cli.main import parser

    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    os.environ.update(COLUMNS=COLUMNS, NO_COLOR="1")
    try:
        return "\n".join(_section(f"spade-edge {name}", command) for name, command in leaves(parser()).items())
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def options_of_a_line() -> str:
    """The tables of a line's configuration, each with its options."""
    from spade_edge.tools.line.configuration.description import heading, options_of, summary, tables
    from spade_edge.tools.line.configuration.options import OutputOptions

    shared = options_of(OutputOptions)
    parts = []
    for name, kind, table in tables():
        title = f'{heading(name)} with kind = "{kind}"' if kind else heading(name)
        about = summary(table)
        parts.append(f"### `{title}`")
        parts.append(_literal(f"{about[:1].upper()}{about[1:]}"))
        rows = [_option(option) for key, option in options_of(table).items() if not kind or key not in shared]
        parts.append("\n".join(["| | meaning | takes | default |", "|---|---|---|---|", *rows]))
        if kind:
            parts.append(
                f"And {' and '.join(f'`{key}`' for key in shared)}, as [every output](#every-output) has them."
            )
    parts += ["### Every output", "\n".join(["| | meaning | takes | default |", "|---|---|---|---|"])]
    parts[-1] += "\n" + "\n".join(_option(option) for option in shared.values())
    return "\n\n".join(parts) + "\n"


def _option(option: Any) -> str:
    """A row for an option."""
    from spade_edge.tools.line.configuration.template import toml, value_of
    from spade_edge.tools.line.configuration.values import expected

    if option.required:
        default = f"required, such as `{toml(option.example)}`"
    elif option.default is None:
        default = f"not set; such as `{value_of(option)}`"
    else:
        default = f"`{toml(option.default) if option.example else value_of(option)}`"
    return f"| `{option.name}` | {_literal(option.about)} | {_literal(expected(option))} | {default} |"


def subcommands(top: ArgumentParser) -> dict[str, ArgumentParser]:
    """The commands of a command line, by name."""
    (choices,) = (action.choices for action in top._actions if isinstance(action, _SubParsersAction))
    return dict(choices)


def leaves(top: ArgumentParser) -> dict[str, ArgumentParser]:
    """The commands, each followed by its own commands if it has any: "gallery", "gallery list" and so on."""
    found = {}
    for name, command in subcommands(top).items():
        found[name] = command
        if any(isinstance(action, _SubParsersAction) for action in command._actions):
            found |= {f"{name} {verb}": own for verb, own in subcommands(command).items()}
    return found


def _section(title: str, command: ArgumentParser) -> str:
    """The parts of the help: usage, description, and a table for each group of options."""
    parts = [f"## {title}", f"```text\n{command.format_usage().rstrip()}\n```", _literal(command.description or "")]
    for group in command._action_groups:
        rows = [_row(command, action) for action in group._group_actions if not isinstance(action, _HelpAction)]
        if rows:
            heading = (group.title or "").rstrip(":")
            parts.append(f"**{_literal(heading[:1].upper() + heading[1:])}**")
            parts.append("\n".join(["| | meaning |", "|---|---|", *rows]))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _row(command: ArgumentParser, action: Action) -> str:
    formatter = command._get_formatter()
    meaning = " ".join(formatter._expand_help(action).split()) if action.help else ""
    return f"| `{formatter._format_action_invocation(action)}` | {_literal(meaning)} |"


def _literal(text: str) -> str:
    """Plain text as Markdown: what would be markup stands for itself; indented lines are code anyway."""
    lines = (line if line.startswith("    ") else re.sub(r"([|*_<`\\])", r"\\\1", line) for line in text.splitlines())
    return "\n".join(lines)


def _on_site(document: str) -> str:
    """A document of the root as a page: links to pages stay on the site, others lead to the repository."""
    names = {document: page for page, document in DOCUMENTS.items()}

    def target(match: re.Match[str]) -> str:
        path, anchor = match["path"], match["anchor"] or ""
        if path in names:
            return f"]({names[path]}{anchor})"
        if path.startswith("docs/"):
            return f"]({path.removeprefix('docs/')}{anchor})"
        return f"]({REPOSITORY}/blob/main/{path}{anchor})"

    return re.sub(r"\]\((?![a-z]+:|#)(?P<path>[^)#]+)(?P<anchor>#[^)]*)?\)", target, document)
