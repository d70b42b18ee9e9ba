"""Opening a bundle as a command does: with a word on stderr about what will take long, and what runs the network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spade_edge.runtime import DeviceError, Scorer
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.network.engine_cache import EngineCache
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN, Network
from spade_edge.runtime.network.provider import AUTO, CPU, TENSORRT, BatchRange, Provider
from spade_edge.tools.cli.arguments import provider

LONG = "10 to 30 minutes on a small Jetson"


def open_scorer(chosen: argparse.Namespace) -> Scorer:
    """Open the bundle that a command line names.

    Raises:
        SpadeError: as `Scorer.open`.
        UsageError: an option of a GPU, and the CPU.
    """
    wanted = provider(chosen)
    if wanted.name == TENSORRT:
        _warn(chosen.bundle, wanted)
    scorer = Scorer.open(
        chosen.bundle,
        providers=wanted,
        allow_fallback=chosen.allow_fallback,
        threads=chosen.threads,
        search=chosen.search,
        self_test=getattr(chosen, "self_test", False),
    )
    session = scorer.session
    if wanted.name == AUTO:
        print("; ".join((f"auto: the network runs on {runs_on(session)}", *session.passed_over)), file=sys.stderr)
    elif session.passed_over:
        print(
            f"falling back: the network runs on {runs_on(session)}; {'; '.join(session.passed_over)}", file=sys.stderr
        )
    elif wanted.name != CPU:
        print(f"the network runs on {runs_on(session)}", file=sys.stderr)
    return scorer


def engines_of(bundle: Path, wanted: Provider) -> EngineCache:
    """The engines that scoring with this bundle takes, whether there are any or not.

    Raises:
        BundleError: it is none.
        DeviceError: no TensorRT, or no GPU.
    """
    manifest = Manifest.read(bundle)
    views = BatchRange.of(wanted, len(manifest.layout), most=VIEWS_PER_RUN)
    return EngineCache.of(bundle / manifest.files["model"].name, manifest.model, wanted, views=views)


def runs_on(session: Network) -> str:
    """Providers with their shares of the network's nodes."""
    if len(session.node_fractions) == 1:
        return session.provider if session.provider.startswith("CPU") else f"{session.provider}, all nodes"
    if not session.node_fractions:
        return f"{session.provider}, nodes not counted"
    return ", ".join(f"{name} {share:.1%}" for name, share in session.node_fractions.items()) + " of the nodes"


def _warn(bundle: Path, wanted: Provider) -> None:
    """Say that an engine will be built."""
    try:
        engines = engines_of(bundle, wanted)
        prepared = engines.prepared()
    except DeviceError:
        return  # opening the bundle says it
    if not prepared:
        print(
            f"no engine is prepared for {engines.key['gpu']}: TensorRT builds one before the first frame, {LONG}, "
            f"deaf to Ctrl-C; better run 'spade-edge prepare --bundle {bundle}' beforehand",
            file=sys.stderr,
            flush=True,
        )
