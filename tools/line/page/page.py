"""The page as the line sees it: a receiver of inspections that serves browsers from a thread of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from spade_edge.tools.line.configuration.options import PageOptions
from spade_edge.tools.line.decision import Inspection
from spade_edge.tools.line.desk import Desk
from spade_edge.tools.line.outputs.listening import Address
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.secret_file import read_secret
from spade_edge.tools.line.page.changes import Changes
from spade_edge.tools.line.page.guard import Guard
from spade_edge.tools.line.page.login import Login
from spade_edge.tools.line.page.memory import Memory
from spade_edge.tools.line.page.rejects import Kept, Remembered
from spade_edge.tools.line.page.serving import Serving
from spade_edge.tools.line.page.site import Site
from spade_edge.tools.line.state import LineState

log = logging.getLogger(__name__)


class Page:
    """Serves the page. What it remembers outlives `close` and `open`.

    Args:
        options: [page] of the configuration.
        desk: the service.
        evidence: folder of the evidence; None if none is kept.
        changes: runs changes of bundles; for tests.
        clock: returns seconds.
        wall: returns seconds since 1970.
    """

    def __init__(
        self,
        options: PageOptions,
        *,
        desk: Desk,
        evidence: Path | None,
        changes: Callable[[], Changes] = Changes,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._options, self._desk, self._evidence, self._make_changes = options, desk, evidence, changes
        self._memory = Memory(keep_rejects=evidence is None, clock=clock, wall=wall)
        self._listen = Address.parse(options.listen)
        self._login = None if options.token_file is None else Login(options.token_file)
        self._serving: Serving | None = None
        self._site: Site | None = None

    @property
    def port(self) -> int:
        """That it listens on; 0 while it is closed."""
        return 0 if self._serving is None else self._serving.port

    def open(self) -> None:
        """Begin to serve.

        Raises:
            OutputError: it cannot listen there, or certificate and key cannot be used.
        """
        options = self._options
        if options.token_file is not None:
            try:
                read_secret(options.token_file)
            except OutputError as problem:  # the page can be read nevertheless
                log.warning("page: nobody can log in: %s", problem)
        self._site = Site(
            desk=self._desk,
            memory=self._memory,
            rejects=Remembered(self._memory) if self._evidence is None else Kept(self._evidence),
            login=self._login,
            changes=self._make_changes(),
            port=lambda: self.port,
        )
        guarded = Guard(self._site.app, listen=self._listen, hosts=options.hosts)
        self._serving = Serving(guarded, listen=self._listen, cert_file=options.cert_file, key_file=options.key_file)

    def send(self, inspection: Inspection) -> None:
        """Remember a part.

        Raises:
            OutputError: the server has stopped.
        """
        self._memory.add(inspection)
        self._check()

    def stale(self, inspection: Inspection) -> bool:
        """Never: it is a record of what happened."""
        return False

    def beat(self, state: LineState) -> None:
        """Remember the counts.

        Raises:
            OutputError: the server has stopped.
        """
        self._memory.beat(state)
        self._check()

    def close(self) -> None:
        """Stop serving, and free the port."""
        if self._site is not None:
            self._site.end()
        if self._serving is not None:
            self._serving.stop()
        self._site = self._serving = None

    def _check(self) -> None:
        if self._serving is None or not self._serving.alive:
            raise OutputError("the server of the page has stopped")
