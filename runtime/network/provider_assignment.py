"""Provider assignment: the fraction of a network that each provider ran, from onnxruntime's profile of a run."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from spade_edge.runtime.network.provider import EXECUTION_PROVIDERS, TENSORRT

FUSING = EXECUTION_PROVIDERS[TENSORRT]
KERNEL = "_kernel_time"  # suffix of the name of an event that is the run of a node


def node_fractions(profile: bytes, *, nodes: int) -> dict[str, float]:
    """Fraction of the nodes that each provider ran, largest first; copies between memories do not count.

    TensorRT fuses many nodes into one, so all nodes of the model that no other provider ran count as TensorRT's.

    Args:
        profile: onnxruntime's profile of one run, a JSON list of events.
        nodes: number of nodes of the model.

    Returns:
        provider to fraction, adding up to 1; empty if the profile holds no events of nodes.
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
