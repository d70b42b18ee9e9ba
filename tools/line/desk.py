"""What the page sees of the service, and may ask of it."""

from __future__ import annotations

from typing import Protocol

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.line.configuration.options import LineConfiguration
from spade_edge.tools.line.requests import Requests
from spade_edge.tools.line.state import LineState


class Desk(Requests, Protocol):
    """The service, as those who look at it need it. Any thread may use it, and nothing here waits."""

    @property
    def configuration(self) -> LineConfiguration:
        """The configuration in force."""

    def state(self) -> LineState:
        """What the line looks like now."""

    def bundle(self, recipe: str) -> Bundle:
        """The generation of a recipe's bundle that is in force.

        Raises:
            UsageError: there is no such recipe.
        """
