"""The addresses of the page: what is shown to anyone who may see it, and what may be changed with the token."""

from __future__ import annotations

import hmac
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from spade_edge.galleries.generation import Generation, generations
from spade_edge.runtime import DataError, SpadeError, UsageError
from spade_edge.runtime.result import DEFECT
from spade_edge.tools.line.configuration.options import LineConfiguration
from spade_edge.tools.line.desk import Desk
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.page.changes import PREVIEW, TEACH, THRESHOLD, UNDO, Changes, Task, generation_of
from spade_edge.tools.line.page.login import LASTS, Login, Session, TooSoonError
from spade_edge.tools.line.page.memory import Memory
from spade_edge.tools.line.page.metrics import CONTENT_TYPE, Metrics
from spade_edge.tools.line.page.rejects import Kept, Rejects
from spade_edge.tools.line.page.stops import stops, stops_view
from spade_edge.tools.line.page.view import is_silent, line_view, reject_view
from spade_edge.tools.line.page.worker import Worker
from spade_edge.tools.line.state import WELL

VIEW_EVERY = 0.25  # seconds between two looks at the line, whatever the number of browsers
LOOK_EVERY = 1.0  # seconds between two looks at the disk for rejects
LARGEST_BODY = 8 << 10  # bytes of a request
LONGEST_REASON = 500  # characters
RECENT = 30  # parts whose verdicts a preview compares
BROWSER = Path(__file__).parent / "browser"
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/changes.js": ("changes.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Refusal(Exception):  # noqa: N818  (an answer, and no fault)
    """An answer that says no, in a sentence."""

    def __init__(self, status: int, words: str, *, wait: int | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.wait = status, words, wait


@dataclass
class _Built:
    """An answer that all browsers share for a moment."""

    at: float = float("-inf")
    content: bytes = b""


class Site:
    """Answers browsers. All of it runs in the thread of the server; what may take long runs in workers.

    Args:
        desk: the service.
        memory: what is remembered of the line.
        rejects: where rejects are looked up.
        login: sessions; None where nothing may be changed.
        changes: of bundles.
        port: that is listened on, for the name of the cookie.
        clock: returns seconds.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        memory: Memory,
        rejects: Rejects,
        login: Login | None,
        changes: Changes,
        port: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk, self._memory, self._rejects = desk, memory, rejects
        self._login, self._changes, self._port, self._clock = login, changes, port, clock
        self._metrics = Metrics(state=desk.state, configuration=lambda: desk.configuration, memory=memory)
        self._disk, self._drawing = Worker("the disk"), Worker("drawing")
        self._view, self._list = _Built(), _Built()
        shown = [Route(path, _file(*about), methods=["GET"]) for path, about in FILES.items()]
        self.app = Starlette(
            routes=[
                *shown,
                Route("/line", self._line, methods=["GET"]),
                Route("/picture", self._picture, methods=["GET"]),
                Route("/rejects", self._newest_rejects, methods=["GET"]),
                Route("/rejects/picture", self._reject_picture, methods=["GET"]),
                Route("/health", self._health, methods=["GET"]),
                Route("/metrics", self._figures, methods=["GET"]),
                Route("/session", self._session, methods=["GET"]),
                Route("/login", self._open_session, methods=["POST"]),
                Route("/logout", self._close_session, methods=["POST"]),
                Route("/product", self._product, methods=["POST"]),
                Route("/trigger", self._trigger, methods=["POST"]),
                Route("/threshold", self._stops, methods=["GET"]),
                Route("/generations", self._generations, methods=["GET"]),
                Route("/change", self._change, methods=["GET"]),
                Route("/preview", self._preview, methods=["POST"]),
                Route("/teach", self._teach, methods=["POST"]),
                Route("/undo", self._undo, methods=["POST"]),
                Route("/threshold", self._set_threshold, methods=["POST"]),
            ],
            exception_handlers={
                Refusal: _refused,
                UsageError: _said(409),
                DataError: _said(404),
                OutputError: _said(503),
                SpadeError: _said(500),
            },
        )

    def end(self) -> None:
        """Let the threads go."""
        self._changes.end()
        self._disk.end()
        self._drawing.end()

    # What is shown.

    async def _line(self, request: Request) -> Response:
        now = self._clock()
        if now - self._view.at >= VIEW_EVERY:
            configuration = self._desk.configuration
            view = line_view(self._desk.state(), configuration=configuration, memory=self._memory)
            view["changes"] = {
                "allowed": self._login is not None,
                "bundles": self._why_not(configuration),
                "teaching": "" if isinstance(self._rejects, Kept) else "keep [evidence] to teach rejects in",
            }
            self._view = _Built(now, json.dumps(_finite(view), allow_nan=False).encode())
        return _json(self._view.content)

    async def _picture(self, request: Request) -> Response:
        camera, number, heat = (request.query_params.get(name, "") for name in ("camera", "number", "heat"))
        shown = None
        if number.isascii() and number.isdecimal() and len(number) < 16:
            shown = self._memory.announced(camera, int(number))
        if shown is None or not shown.pictured:
            raise Refusal(404, "this picture is gone; the newest are kept")
        tag = f'"{number}-{heat == "1":d}-{shown.decision.trigger.number}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        content = await self._drawing.do(lambda: shown.picture(heat=heat == "1"))
        if content is None:
            raise Refusal(404, "there is no picture of this part")
        return Response(content, media_type="image/jpeg", headers={"etag": tag, "cache-control": "no-cache"})

    async def _newest_rejects(self, request: Request) -> Response:
        now = self._clock()
        if now - self._list.at >= LOOK_EVERY:
            self._list.at = now  # others get the former list meanwhile
            found = await self._disk.do(self._rejects.newest)
            known = self._desk.configuration.recipes
            view = [
                reject_view(
                    one, teachable=one.frame and one.decision["verdict"] == DEFECT and one.decision["recipe"] in known
                )
                for one in found
            ]
            self._list = _Built(now, json.dumps(_finite(view), allow_nan=False).encode())
        return _json(self._list.content or b"[]")

    async def _reject_picture(self, request: Request) -> Response:
        id, large = request.query_params.get("id", "")[:300], request.query_params.get("size") == "large"
        content = await self._disk.do(lambda: self._rejects.picture(id, large=large))
        tag = f'"{sha256(content).hexdigest()[:16]}"'
        headers = {"etag": tag, "cache-control": "private, max-age=3600"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="image/jpeg", headers=headers)

    async def _health(self, request: Request) -> Response:
        state = self._desk.state()
        silent = is_silent(self._memory.silent, self._desk.configuration)
        word = "silent" if silent else state.state
        cameras = {camera.name: camera.health.state for camera in state.cameras}
        return JSONResponse(
            {"state": word, "line": state.line, "cameras": cameras},
            200 if word == WELL else 503,
            headers={"cache-control": "no-store"},
        )

    async def _figures(self, request: Request) -> Response:
        return Response(self._metrics.text(), headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})

    # Who may change something.

    async def _session(self, request: Request) -> Response:
        session = await self._known(request)
        secret = None if session is None else session.secret
        return _no_store({"open": session is not None, "secret": secret})

    async def _open_session(self, request: Request) -> Response:
        login = self._login
        if login is None:
            raise Refusal(403, "nothing can be changed here: the configuration has no token_file under [page]")
        token = _text(await _body(request), "token", most=4096)
        address = request.client.host if request.client else ""
        try:
            cookie = await self._disk.do(lambda: login.open(token, address=address))
        except TooSoonError as problem:
            raise Refusal(429, str(problem), wait=problem.seconds) from None
        except UsageError as problem:
            raise Refusal(403, str(problem)) from None
        response = _no_store({"open": True})
        response.set_cookie(
            self._cookie,
            cookie,
            max_age=int(LASTS),
            path="/",
            secure=request.url.scheme == "https" or request.headers.get("origin", "").startswith("https:"),
            httponly=True,
            samesite="strict",
        )
        return response

    async def _close_session(self, request: Request) -> Response:
        await self._allowed(request)
        if self._login is not None:
            self._login.close(request.cookies.get(self._cookie, ""))
        response = _no_store({"open": False})
        response.delete_cookie(self._cookie, path="/", httponly=True, samesite="strict")
        return response

    @property
    def _cookie(self) -> str:
        """A name of its own for each port: browsers do not keep the cookies of two lines on one machine apart."""
        return f"spade-edge-{self._port()}"

    async def _known(self, request: Request) -> Session | None:
        login, cookie = self._login, request.cookies.get(self._cookie, "")
        if login is None or not cookie:
            return None
        return await self._disk.do(lambda: login.session(cookie))

    async def _allowed(self, request: Request) -> dict[str, Any]:
        """The body of a request that may change something."""
        session = await self._known(request)
        if session is None:
            raise Refusal(401, "log in first; the session has ended or was never opened")
        if not _same(request.headers.get("x-session-secret", ""), session.secret):
            raise Refusal(403, "reload the page; it belongs to a former session")
        return await _body(request)

    # What may be changed.

    async def _product(self, request: Request) -> Response:
        body = await self._allowed(request)
        self._desk.choose(_text(body, "camera"), _text(body, "recipe"))
        return _no_store({"done": True})

    async def _trigger(self, request: Request) -> Response:
        number = self._desk.trigger(_text(await self._allowed(request), "camera"))
        return _no_store({"number": number})

    async def _stops(self, request: Request) -> Response:
        if await self._known(request) is None:
            raise Refusal(401, "log in first; the session has ended or was never opened")
        recipe = request.query_params.get("recipe", "")
        manifest = self._desk.bundle(recipe).manifest
        scored = self._memory.scores(recipe=recipe)
        return _no_store(await self._disk.do(lambda: _finite(stops_view(manifest, scored))))

    async def _generations(self, request: Request) -> Response:
        if await self._known(request) is None:
            raise Refusal(401, "log in first; the session has ended or was never opened")
        bundle = self._bundle(request.query_params.get("recipe", ""))
        found = await self._disk.do(lambda: generations(bundle))
        return _no_store(_undo_view(found))

    async def _change(self, request: Request) -> Response:
        if await self._known(request) is None:
            raise Refusal(401, "log in first; the session has ended or was never opened")
        last = self._changes.last
        return _no_store(None if last is None else _finite(last.to_json()))

    async def _preview(self, request: Request) -> Response:
        return await self._begin(await self._allowed(request), PREVIEW)

    async def _teach(self, request: Request) -> Response:
        body = await self._allowed(request)
        after = body.get("preview")
        if type(after) is not int:
            raise Refusal(400, "expected the number of the preview, found none")
        return await self._begin(body, TEACH, after=after)

    async def _begin(self, body: dict[str, Any], kind: str, *, after: int | None = None) -> Response:
        """Begin a preview, or teach in."""
        id, reason = _text(body, "part", most=300), _text(body, "reason", most=LONGEST_REASON, empty=True)
        rejects = self._rejects
        if not isinstance(rejects, Kept):
            raise Refusal(409, "rejects can be taught in where [evidence] is kept")

        def begin() -> dict[str, Any]:
            entry = rejects.entry(id)
            recipe = str(entry.decision["recipe"])
            bundle = self._changeable(recipe)
            if entry.decision["verdict"] != DEFECT:
                raise UsageError("only a part that was judged a defect can be taught in as good")
            recent = tuple(rejects.recent(recipe, most=RECENT)) if kind == PREVIEW else ()
            task = Task(kind, recipe, bundle, entry=entry, recent=recent, reason=reason)
            return self._changes.start(task, after=after).to_json()

        return _no_store(await self._disk.do(begin), 202)

    async def _undo(self, request: Request) -> Response:
        body = await self._allowed(request)
        recipe, seen = _text(body, "recipe"), _text(body, "manifest")
        reason = _text(body, "reason", most=LONGEST_REASON, empty=True)

        def begin() -> dict[str, Any]:
            bundle = self._changeable(recipe)
            if generation_of(bundle)[: len(seen)] != seen or len(seen) < 16:
                raise UsageError("somebody has changed the bundle meanwhile; look at it again")
            return self._changes.start(Task(UNDO, recipe, bundle, reason=reason)).to_json()

        return _no_store(await self._disk.do(begin), 202)

    async def _set_threshold(self, request: Request) -> Response:
        body = await self._allowed(request)
        recipe, rate = _text(body, "recipe"), body.get("rate")
        reason = _text(body, "reason", most=LONGEST_REASON, empty=True)
        if not isinstance(rate, float):
            raise Refusal(400, "expected a false-reject rate, found none")

        def begin() -> dict[str, Any]:
            bundle = self._changeable(recipe)
            if rate not in {stop.rate for stop in stops(self._desk.bundle(recipe).manifest)}:
                raise UsageError("expected one of the thresholds of the list; the bundle has changed, look at it again")
            return self._changes.start(Task(THRESHOLD, recipe, bundle, rate=rate, reason=reason)).to_json()

        return _no_store(await self._disk.do(begin), 202)

    def _bundle(self, recipe: str) -> Path:
        options = self._desk.configuration.recipes.get(recipe)
        if options is None:
            raise UsageError(f"expected a recipe of the configuration, found '{recipe[:64]}'")
        return options.bundle

    def _changeable(self, recipe: str) -> Path:
        """The folder of a recipe's bundle, if it may be changed here."""
        if why := self._why_not(self._desk.configuration):
            raise UsageError(why)
        return self._bundle(recipe)

    def _why_not(self, configuration: LineConfiguration) -> str:
        """Why bundles cannot be changed here; empty if they can."""
        if configuration.line.require_signature:
            return "bundles of this line are signed; change and sign them where the key is"
        return ""


def _undo_view(lines: Sequence[Generation]) -> dict[str, Any]:
    """What made the generation in force, and which one an undo would put in force: the one that it was made from."""
    now = next((one for one in reversed(lines) if one.in_force), None)
    made = next((one for one in lines if now is not None and one.number == now.number), None)
    if now is None or made is None:
        return {"number": None, "parent": None}
    return {
        "number": made.number,
        "parent": made.came_from,
        "manifest": now.manifest[:16],
        "when": made.when,
        "who": made.who[:100],
        "verb": made.verb,
        "reason": made.reason[:LONGEST_REASON],
        "names": [name[:200] for name in made.names[:3]],
    }


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """Answers with a file of the page."""
    content = (BROWSER / name).read_bytes()
    headers = {"content-type": kind, "etag": f'"{sha256(content).hexdigest()[:16]}"', "cache-control": "no-cache"}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers={"etag": headers["etag"], "cache-control": "no-cache"})
        return Response(content, headers=headers)

    return answer


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object in a request."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "expected JSON, found something else")
    content = b""
    async for block in request.stream():
        content += block
        if len(content) > LARGEST_BODY:
            raise Refusal(413, f"expected at most {LARGEST_BODY:,} bytes, found more")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise Refusal(400, "expected JSON, found something else") from None
    if not isinstance(value, dict):
        raise Refusal(400, "expected a JSON object, found something else")
    return value


def _text(body: dict[str, Any], name: str, *, most: int = 64, empty: bool = False) -> str:
    value = body.get(name, "" if empty else None)
    if not isinstance(value, str) or len(value) > most or not (empty or value):
        raise Refusal(400, f"expected {name} as a text of at most {most} characters, found something else")
    return value


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(sha256(given.encode()).digest(), sha256(secret.encode()).digest())


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json", headers={"cache-control": "no-store"})


def _no_store(value: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(value, status, headers={"cache-control": "no-store"})


def _said(status: int) -> Callable[[Request, Exception], Response]:
    """Answers with the one line of an error."""

    def answer(request: Request, problem: Exception) -> Response:
        return _no_store({"words": str(problem)}, status)

    return answer


def _refused(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Refusal)  # noqa: S101
    response = _no_store({"words": problem.words}, problem.status)
    if problem.wait is not None:
        response.headers["retry-after"] = str(problem.wait)
    return response


def _finite(value: Any) -> Any:
    """The same with null for what is no number, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
