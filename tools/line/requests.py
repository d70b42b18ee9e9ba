"""What a controller, a broker or the page may ask of the line."""

from __future__ import annotations

from typing import Protocol


class Requests(Protocol):
    """Asks something of the line. Any thread may call these, and they never wait."""

    def trigger(self, camera: str, *, id: str | None = None, recipe: str | None = None) -> int:
        """Trigger a camera whose triggers are messages.

        Args:
            camera: its name.
            id: of the trigger or the part; None for the running number.
            recipe: the product that the part is; None for the one that is chosen. It does not change what is chosen.

        Returns:
            the running number of the trigger.

        Raises:
            UsageError: there is no such camera or recipe, or frames are this camera's triggers.
        """

    def choose(self, camera: str, recipe: str) -> None:
        """Judge the next triggers of a camera as another product.

        Raises:
            UsageError: there is no such camera or recipe.
        """
