"""Reading HTML pages in tests, and a name that tries to break them."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr"}
HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\x00\u202egnp.\udc80 http://evil.example/.png"


class Page(HTMLParser):
    """Reads a page, refuses unbalanced tags, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []  # (innermost tag, text)
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> was never opened"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.tags if found == tag]

    def text_in(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag]

    def loads(self) -> list[str]:
        """What would make a browser fetch or run something; nothing, we hope."""
        found = [tag for tag, _ in self.tags if tag in {"script", "link", "iframe", "object", "embed", "base", "form"}]
        for tag, attributes in self.tags:
            for name, value in attributes.items():
                address = name in {"src", "href", "srcset", "data", "action", "poster"}
                if (address and not value.startswith(("data:image/", "#"))) or name.startswith("on"):
                    found.append(f"{tag} {name}={value}")
        return found
