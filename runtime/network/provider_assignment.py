"""Which provider ran which share of a network, out of onnxruntime's own profile of a run."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from spade_edge.runtime.network.provider import EXECUTION_PROVIDERS, TENSORRT

FUSING = EXECUTION_PROVIDERS[TENSORRT]
KERNEL = "_kernel_time"  # end of the name of an event that stands for a node's run


def node_fractions(profile: bytes, *, nodes: int) -> dict[str, float]:
    """Share of the nodes that each provider ran, largest first; copies between memories do not count.

    TensorRT runs many nodes as one: it is given all of the model's nodes that no other provider ran.

    Args:
        profile: what onnxruntime wrote about one run, a JSON list of events.
        nodes: of the model.

    Returns:
        provider to share, adding up to 1; empty if the profile tells nothing.
    """
    counts: Counter[str] = Counter()
    for event in _events(profile):
        name, arguments = event.get("name"), event.get("args")
        if event.get("cat") == "Node" and isinstance(name, str) and name.endswith(KERNEL):
            arguments = arguments if isinstance(arguments, dict) else {}
            provider = arguments.get("provider")
            if isinstance(provider, str) and not str(arguments.get("op_name")).startswith("Memcpy"):
                counts[provider] += 1
    if FUSING in counts:
        counts[FUSING] = max(counts[FUSING], nodes - counts.total() + counts[FUSING])
    return {provider: count / counts.total() for provider, count in counts.most_common()}


def _events(profile: bytes) -> list[dict[str, Any]]:
    try:
        value = json.loads(profile)
    except (ValueError, RecursionError):
        return []
    return [event for event in value if isinstance(event, dict)] if isinstance(value, list) else []
