"""Opening the bundle that a command line names, and telling on stderr what runs the network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from spade_edge.runtime import DeviceError, Provider, Scorer
from spade_edge.runtime.network.protocol import Network
from spade_edge.runtime.network.provider import AUTO, CPU, TENSORRT
from spade_edge.tools.cli.arguments import provider
from spade_edge.tools.preparation.engine_build import engine_cache

LONG = "10 to 30 minutes on a small Jetson"


def open_scorer(chosen: argparse.Namespace) -> Scorer:
    """Open the bundle that a command line names.

    Raises:
        SpadeError: as for `Scorer.open`.
        UsageError: an option of a GPU together with the CPU.
    """
    return open_with(
        chosen.bundle,
        provider(chosen),
        allow_fallback=chosen.allow_fallback,
        threads=chosen.threads,
        search=chosen.search,
        self_test=getattr(chosen, "self_test", False),
        even_so=getattr(chosen, "even_so", False),
    )


def open_with(
    bundle: Path,
    provider: Provider,
    *,
    allow_fallback: bool,
    threads: int | None,
    search: str | None = None,
    self_test: bool = False,
    even_so: bool = False,
) -> Scorer:
    """Open a bundle with a provider, and tell on stderr what runs the network if it is not the CPU.

    Raises:
        SpadeError: as for `Scorer.open`.
    """
    if provider.name == TENSORRT:
        _warn(bundle, provider)
    scorer = Scorer.open(
        bundle,
        providers=provider,
        allow_fallback=allow_fallback,
        threads=threads,
        search=search,
        self_test=self_test,
        even_so=even_so,
    )
    session = scorer.session
    if provider.name == AUTO:
        print("; ".join((f"auto: the network runs on {runs_on(session)}", *session.passed_over)), file=sys.stderr)
    elif session.passed_over:
        print(
            f"falling back: the network runs on {runs_on(session)}; {'; '.join(session.passed_over)}", file=sys.stderr
        )
    elif provider.name != CPU:
        print(f"the network runs on {runs_on(session)}", file=sys.stderr)
    return scorer


def runs_on(session: Network) -> str:
    """The execution providers, with the fraction of the network's nodes that each runs."""
    return provider_fractions(session.provider, session.node_fractions)


def provider_fractions(provider: str, fractions: Mapping[str, float]) -> str:
    """The execution providers, with the fraction of the network's nodes that each runs.

    Args:
        provider: the first execution provider.
        fractions: execution provider to its fraction; empty if unknown.
    """
    if len(fractions) == 1:
        return provider if provider.startswith("CPU") else f"{provider}, all nodes"
    if not fractions:
        return f"{provider}, nodes not counted"
    return ", ".join(f"{name} {fraction:.1%}" for name, fraction in fractions.items()) + " of the nodes"


def _warn(bundle: Path, provider: Provider) -> None:
    """Tell that an engine will be built."""
    try:
        engines = engine_cache(bundle, provider)
        prepared = engines.prepared()
    except DeviceError:
        return  # opening the bundle will report it
    if not prepared:
        print(
            f"no engine is prepared for {engines.key['gpu']}: TensorRT builds one before the first frame, {LONG}, and "
            f"ignores Ctrl-C meanwhile; better run 'spade-edge prepare --bundle {bundle}' beforehand",
            file=sys.stderr,
            flush=True,
        )
