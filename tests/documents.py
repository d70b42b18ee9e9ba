"""The project's documents: README, the pages of the site, and what stands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/spade-edge/spade-edge"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (
        ROOT / "README.md",
        DOCS / "index.md",
        DOCS / "tutorial.md",
        *sorted(path for path in DOCS.rglob("*.md") if path.name not in ("index.md", "tutorial.md")),
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "SECURITY.md",
    )
}


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: the document, relative to the root.
        language: what stands behind the fence.
        text: what is in it.
    """

    page: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its lines, those that go on with a backslash joined, without comments."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        bare = (re.sub(r"\s+#.*", "", line) for line in lines)
        return [line for line in bare if line and not line.startswith("#")]


def blocks(language: str) -> list[Block]:
    """Every block in that language, page by page."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [Block(page, language, found) for page, text in PAGES.items() for found in fence.findall(text)]


def prose(page: str) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
