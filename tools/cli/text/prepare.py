"""What `spade-edge prepare` prints."""

from __future__ import annotations

from spade_edge.tools.cli.opening import provider_fractions
from spade_edge.tools.preparation.preparation import Preparation


def as_json(prepared: Preparation) -> dict[str, object]:
    """What has been prepared, as JSON values."""
    return {
        "engines": None if prepared.engines is None else str(prepared.engines),
        "built_seconds": prepared.built_seconds,
        "others": [str(other) for other in prepared.others],
        "open_seconds": prepared.open_seconds,
        "first_frame_ms": prepared.first_frame,
        "second_frame_ms": prepared.second_frame,
        "golden": prepared.golden,
        "provider": prepared.provider,
        "providers": dict(prepared.node_fractions),
        "cleaned": prepared.cleaned,
    }


def lines(prepared: Preparation, *, cpu: bool) -> list[str]:
    """What has been prepared, as lines of text.

    Args:
        prepared: what has been prepared.
        cpu: whether the network runs on the CPU, which needs no preparation.
    """
    text = []
    if cpu:
        text.append("the CPU needs no preparation")
    text.append(f"the network runs on {provider_fractions(prepared.provider, prepared.node_fractions)}")
    if prepared.engines is not None:
        built = prepared.built_seconds
        text.append(f"{prepared.engines}: engine {'was there already' if built is None else f'built in {built:.0f} s'}")
    for other in prepared.others:
        text.append(f"{other}: for another GPU, version or option, {'removed' if prepared.cleaned else 'see --clean'}")
    text.append(
        f"opened in {prepared.open_seconds:.2f} s; first frame {prepared.first_frame:.1f} ms, "
        f"second {prepared.second_frame:.1f} ms"
        + ("" if prepared.golden is None else f"; golden frames reproduced, at most {prepared.golden:.1e} off")
    )
    return text
