"""A device takes a bundle from a registry, if it proves itself there.

rules       when a bundle is taken, and what the device scores with
arrival     fetches a bundle into a folder beside the one in force; nothing in a registry is believed
trial       golden frames, and recent frames of the line, scored with both bundles
report      what came of it
pulling     all of it in order: fetch, verify, try, publish
watching    does it again whenever a channel points at another bundle
"""

from __future__ import annotations

from spade_edge.tools.fleet.rollout.pulling import pull
from spade_edge.tools.fleet.rollout.report import Rollout
from spade_edge.tools.fleet.rollout.rules import Device, Recent, Rules
from spade_edge.tools.fleet.rollout.trial import Shadow
from spade_edge.tools.fleet.rollout.watching import watch

__all__ = ["Device", "Recent", "Rollout", "Rules", "Shadow", "pull", "watch"]
