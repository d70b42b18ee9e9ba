"""A service for tests of the page: a desk with states and bundles as a test says, and a page that is served."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sample_decisions import configuration, line_state

from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.line.configuration.options import LineConfiguration, PageOptions
from spade_edge.tools.line.page.page import Page
from spade_edge.tools.line.state import LineState

TOKEN = "three blue bolts"  # noqa: S105


@dataclass
class FakeDesk:
    """A desk that does what a test says.

    Attributes:
        configuration: in force.
        now: what the line looks like.
        bundles: of recipes, by name.
        asked: what was asked of the line.
    """

    configuration: LineConfiguration = field(default_factory=configuration)
    now: LineState = field(default_factory=line_state)
    bundles: dict[str, Bundle] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def state(self) -> LineState:
        return self.now

    def bundle(self, recipe: str) -> Bundle:
        if recipe not in self.bundles:
            raise UsageError(f"expected a recipe, found '{recipe}'")
        return self.bundles[recipe]

    def choose(self, camera: str, recipe: str) -> None:
        if camera not in self.configuration.cameras or recipe not in self.configuration.recipes:
            raise UsageError("expected a camera and a recipe, found others")
        self.asked.append(("choose", camera, recipe))

    def trigger(self, camera: str, *, id: str | None = None, recipe: str | None = None) -> int:
        if camera not in self.configuration.cameras:
            raise UsageError("expected a camera, found another one")
        self.asked.append(("trigger", camera))
        return len(self.asked)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Caller:
    """A browser that asks what a test wants, with the cookie and the secret of its session."""

    port: int
    cookie: str = ""
    secret: str = ""

    def __call__(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str | None
    ) -> Answer:
        """Ask. Headers are given with _ for -; None leaves one out."""
        sent: dict[str, str | None] = {"Host": f"127.0.0.1:{self.port}"}
        if method != "GET":
            sent |= {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}
        if self.cookie:
            sent |= {"Cookie": self.cookie, "X-Session-Secret": self.secret}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def log_in(self, token: str = TOKEN) -> Answer:
        answer = self("POST", "/login", {"token": token})
        if answer.status == 200:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
            self.secret = self("GET", "/session").json["secret"]
        return answer


@contextmanager
def served(folder: Path, desk: FakeDesk, *, token: bool = True, **fields: Any) -> Iterator[tuple[Page, Caller]]:
    """A page that is open.

    Args:
        folder: for the token.
        desk: the service.
        token: whether there is a token_file.
        fields: of the options, or `evidence`, or others of the page.
    """
    about = {name: fields.pop(name) for name in ("hosts", "cert_file", "key_file") if name in fields}
    about["listen"] = fields.pop("listen", "127.0.0.1:0")
    if token:
        (folder / "token").write_text(f"{TOKEN}\nnothing else counts\n", encoding="utf-8")
        about["token_file"] = folder / "token"
    page = Page(PageOptions(**about), desk=desk, **{"evidence": None, **fields})
    page.open()
    try:
        yield page, Caller(page.port)
    finally:
        page.close()
