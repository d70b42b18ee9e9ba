"""Follows all quantities of the frames that a bundle judges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.drift.change import Drift, DriftChange, in_words
from spade_edge.runtime.drift.options import DriftOptions
from spade_edge.runtime.drift.quantity import LIGHT, PLACE, QUANTITIES, P, measured
from spade_edge.runtime.drift.series import Series
from spade_edge.runtime.errors import DataError
from spade_edge.runtime.fields import parse
from spade_edge.runtime.geometry.view import LARGEST_SIDE
from spade_edge.runtime.result import CANNOT_JUDGE, FrameResult

SCHEMA = 1
MARK = b'{"spade_edge_drift": '  # what a file of the state begins with
LARGEST = 4 << 20  # bytes of such a file


class DriftWatch:
    """Hears it when parts look different from those at the beginning. Feed it every result, in order.

    It learns from the first frames that are judged, and compares later ones with them. A change of light, place or
    scores is reported from when it is certain until parts look as before. It costs less than a tenth of a millisecond a
    frame.

    Args:
        manifest: of the bundle that judges the frames.
        options: how drift is heard.
    """

    def __init__(self, manifest: Manifest, *, options: DriftOptions | None = None) -> None:
        self.options = options or DriftOptions()
        self._bases = _bases(manifest)
        self._series = {quantity.name: Series(quantity, self.options) for quantity in QUANTITIES}
        self._extent = (1.0, 1.0)  # width and height, in pixels of the frame, that shifts are fractions of

    def __call__(self, result: FrameResult, time: float) -> Drift | None:
        """Take a result, and say whether parts look different.

        Args:
            result: of the latest frame. One that cannot be judged is ignored.
            time: when the frame was taken, in seconds since 1970, UTC. A clock that jumps does no harm.

        Returns:
            what has changed; None if nothing has, or not enough frames have been seen.
        """
        if result.verdict != CANNOT_JUDGE:
            self._extent = result.extent[2:]
            for name, value in measured(result).items():
                self._series[name].add(value, time)
        return self.drift

    @property
    def drift(self) -> Drift | None:
        """What has changed; None if nothing has."""
        changes = []
        for name, series in self._series.items():
            if (found := series.change()) is not None:
                before, now, since = found
                scale = {"right": self._extent[0], "down": self._extent[1]}.get(name, 1.0)
                words = in_words(series.quantity, before * scale, now * scale)
                changes.append(DriftChange(name, before * scale, now * scale, since, words))
        return Drift(min(change.since for change in changes), tuple(changes)) if changes else None

    def follow(self, manifest: Manifest) -> None:
        """Go on with another generation of the bundle, or with another bundle.

        What the change has touched is learned anew: p if the evidence changed, places if alignment did, everything if
        it is another bundle. What parts looked like before is not forgotten when an image is taught in.
        """
        bases = _bases(manifest)
        for name, series in self._series.items():
            if bases[series.quantity.basis] != self._bases[series.quantity.basis]:
                self._series[name] = Series(series.quantity, self.options)
        self._bases = bases

    def to_text(self) -> str:
        """The state as JSON, with which `from_text` goes on."""
        value = {
            "spade_edge_drift": SCHEMA,
            "bases": self._bases,
            "extent": list(self._extent),
            "series": {name: series.to_json() for name, series in self._series.items()},
        }
        return json.dumps(value, allow_nan=False) + "\n"

    @classmethod
    def from_text(
        cls, text: str | bytes, manifest: Manifest, *, options: DriftOptions | None = None, source: str = "drift state"
    ) -> DriftWatch:
        """Go on from a state.

        Args:
            text: what `to_text` gave.
            manifest: of the bundle that judges the frames now. It may be another generation, as for `follow`.
            options: those that the state was made with.
            source: what messages call the text.

        Raises:
            DataError: it is no state, one of another bundle, or one that was made with other options.
        """
        own = parse(text, where=source, error=DataError)
        schema = own.integer("spade_edge_drift")
        if schema != SCHEMA:
            raise DataError(f"{source}: expected a drift state of version {SCHEMA}, found {schema}; delete the file")
        watch = cls(manifest, options=options)
        bases = own.object("bases")
        found = {basis: bases.text(basis) for basis in (LIGHT, PLACE, P)}
        bases.done()
        width, height = own.numbers("extent", count=2)
        if not 0 < min(width, height) <= max(width, height) <= LARGEST_SIDE:
            raise DataError(f"{source}: expected the size of a frame, found {width:g} x {height:g}; delete the file")
        listed = own.object("series")
        read = {
            quantity.name: Series.from_fields(
                listed.object(quantity.name), quantity, watch.options, source=f"{source}: {quantity.name}"
            )
            for quantity in QUANTITIES
        }
        listed.done()
        own.done()
        if found[LIGHT] != watch._bases[LIGHT]:
            raise DataError(
                f"{source}: expected the drift state of this bundle, found that of another; delete the file"
            )
        watch._bases, watch._series, watch._extent = found, read, (width, height)
        watch.follow(manifest)
        return watch


def _bases(manifest: Manifest) -> Mapping[str, str]:
    """By basis of a quantity, a digest of what in a bundle its values depend on."""
    mask = manifest.files.get("mask")
    light = [
        manifest.created,
        manifest.layout.to_json(),
        manifest.files["model"].sha256,
        None if mask is None else mask.sha256,
    ]
    reference, alignment = manifest.files.get("reference"), manifest.alignment
    place = [
        None if alignment is None else alignment.to_json(),
        None if reference is None else reference.sha256,
    ]
    evidence = manifest.evidence
    return {
        LIGHT: _digest(light),
        PLACE: _digest([light, place]),
        P: _digest([light, list(evidence.scores), list(evidence.groups)]),
    }


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
