"""Opening the bundle that a command line names, and telling on stderr what runs the network and matching."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from spade_edge.runtime import DeviceError, FollowingScorer, Provider, Scorer
from spade_edge.runtime.device_path import AUTO as AUTO_MATCH
from spade_edge.runtime.network.protocol import Network
from spade_edge.runtime.network.provider import AUTO, CPU, CUDA, EXECUTION_PROVIDERS, TENSORRT
from spade_edge.tools.cli.arguments import provider
from spade_edge.tools.preparation.engine_build import engine_cache

LONG = "10 to 30 minutes on a small Jetson"


def permitted(chosen: argparse.Namespace) -> Callable[[Path], str] | None:
    """What is asked for the SHA-256 of the manifest that may be opened; None if any may be.

    Raises:
        DataError: a key of --require-signature cannot be read.
        DeviceError: cryptography is not installed.
    """
    if not chosen.require_signature:
        return None
    from spade_edge.tools.signing.signing import read_keys, signed_manifest

    return partial(signed_manifest, keys=read_keys(chosen.require_signature))


def open_scorer(chosen: argparse.Namespace, *, manifest_sha256: str | None = None) -> Scorer:
    """Open the bundle that a command line names.

    Args:
        chosen: the command line.
        manifest_sha256: that the bundle's manifest must have; None for any that `permitted` allows.

    Raises:
        SpadeError: as for `Scorer.open` and `permitted`.
        UsageError: an option of a GPU together with the CPU.
    """
    check = permitted(chosen)
    if manifest_sha256 is None and check is not None:
        manifest_sha256 = check(chosen.bundle)
    return open_with(
        chosen.bundle,
        provider(chosen),
        allow_fallback=chosen.allow_fallback,
        threads=chosen.threads,
        search=chosen.search,
        match=chosen.match,
        self_test=getattr(chosen, "self_test", False),
        even_so=getattr(chosen, "even_so", False),
        manifest_sha256=manifest_sha256,
    )


def open_following(chosen: argparse.Namespace) -> FollowingScorer:
    """Open the bundle that a command line names, and follow it.

    Raises:
        SpadeError: as for `open_scorer`.
    """
    runs_on = provider(chosen)
    if runs_on.name == TENSORRT:
        _warn(chosen.bundle, runs_on)
    following = FollowingScorer.open(
        chosen.bundle,
        check=permitted(chosen),
        providers=runs_on,
        allow_fallback=chosen.allow_fallback,
        threads=chosen.threads,
        search=chosen.search,
        match=chosen.match,
        self_test=chosen.self_test,
        even_so=chosen.even_so,
    )
    _tell(following.scorer, runs_on)
    return following


def open_with(
    bundle: Path,
    provider: Provider,
    *,
    allow_fallback: bool,
    threads: int | None,
    search: str | None = None,
    match: str = AUTO_MATCH,
    self_test: bool = False,
    even_so: bool = False,
    manifest_sha256: str | None = None,
) -> Scorer:
    """Open a bundle with a provider, and tell on stderr what runs the network and matching if it is not the CPU.

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
        match=match,
        self_test=self_test,
        even_so=even_so,
        manifest_sha256=manifest_sha256,
    )
    _tell(scorer, provider)
    return scorer


def _tell(scorer: Scorer, provider: Provider) -> None:
    """Tell on stderr what runs the network and matching if it is not the CPU."""
    session, running = scorer.session, running_on(scorer)
    if provider.name == AUTO:
        print("; ".join((f"auto: {running}", *session.passed_over)), file=sys.stderr)
    elif session.passed_over:
        print(f"falling back: {running}; {'; '.join(session.passed_over)}", file=sys.stderr)
    elif provider.name != CPU or scorer.device is not None:
        print(running, file=sys.stderr)


def running_on(scorer: Scorer) -> str:
    """What runs the network, and matching if that is where the network runs, or why it is not."""
    network = runs_on(scorer.session)
    if scorer.on_cpu_because:
        return f"the network runs on {network}; cells are matched on the CPU: {scorer.on_cpu_because}"
    if scorer.device is None:
        return f"the network runs on {network}"
    if scorer.session.provider == EXECUTION_PROVIDERS[TENSORRT]:
        return f"the network runs on {network}, and matching on {EXECUTION_PROVIDERS[CUDA]}"
    return f"the network and matching run on {network}"


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
