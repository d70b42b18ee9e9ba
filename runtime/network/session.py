"""The network on an onnxruntime session: views in, pyramids out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DeviceError, ModelError
from spade_edge.runtime.kernels.ort import CPU, give_back_memory, onnxruntime, open_session
from spade_edge.runtime.network.card import INPUT, ModelCard
from spade_edge.runtime.network.engine_cache import TF32, EngineCache
from spade_edge.runtime.network.gpu_session import FixedRun, must_be_offered, open_gpu_session
from spade_edge.runtime.network.onnx_summary import OnnxSummary
from spade_edge.runtime.network.provider import (
    AUTO,
    CUDA,
    EXECUTION_PROVIDERS,
    TENSORRT,
    BatchRange,
    Provider,
    Providers,
    knows_tf32,
    ranked,
    with_fallbacks,
)
from spade_edge.runtime.network.provider_assignment import node_fractions
from spade_edge.runtime.network.pyramid import Pyramid


class Session:
    """A pyramid model, ready to run.

    Args:
        session: an onnxruntime.InferenceSession of a model that `spade-edge export` wrote.
        source: what messages call the model.

    Attributes:
        provider: the execution provider that runs the network.
        node_fractions: execution provider to the fraction of the nodes that it runs, largest first, as measured in a
            run; empty where it is not known.
        passed_over: what would have been preferred to this provider, and why it was not obtained.

    Raises:
        ModelError: the model has no card, or its inputs and outputs are not what the card says.
    """

    def __init__(self, session: Any, *, source: str = "model") -> None:
        self.card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map, source=source)
        self.provider: str = session.get_providers()[0]
        self.node_fractions: Mapping[str, float] = {CPU: 1.0} if session.get_providers() == [CPU] else {}
        self.passed_over: tuple[str, ...] = ()
        self._session = session
        self._source = source
        self._most: int | None = None  # views in one run
        self._run: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]] = self._run_anywhere
        self._check_ports()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        providers: Providers = CPU,
        allow_fallback: bool = False,
        threads: int | None = None,
        source: str | None = None,
        views: int = 1,
        most: int = 1,
    ) -> Session:
        """Load a model file.

        On a GPU the network runs once before it is believed. With TensorRT and no engine prepared for this machine, one
        is built first: 10 to 30 minutes on a small Jetson, without a word and deaf to Ctrl-C.

        Args:
            path: the ONNX file.
            providers: what runs it, in order of preference; the first must be obtained.
            allow_fallback: go on with the next provider, and in the end the CPU, where one cannot be had.
            threads: onnxruntime's threads for one run; None leaves the choice to onnxruntime (one a core).
            source: what messages call the model; None for the path.
            views: of a frame, what TensorRT's engine is tuned for.
            most: views that go through the network together at most.

        Raises:
            DeviceError: onnxruntime is not installed, or the provider cannot be had on this machine.
            ModelError: the file is not a model that can be run here.
            UsageError: an unknown provider.
        """
        wanted = ranked(providers)
        auto = any(provider.name == AUTO for provider in wanted)
        tried = with_fallbacks(wanted) if auto or allow_fallback else wanted[:1]
        must_be_prepared = auto and all(provider.name != TENSORRT for provider in wanted)

        def opened(provider: Provider) -> Session:
            return cls._open_with(
                provider,
                path,
                threads=threads,
                source=source or str(path),
                views=BatchRange.of(provider, views, most=most),
                must_be_prepared=must_be_prepared,
            )

        passed_over: list[str] = []
        for provider in tried[:-1]:
            try:
                session = opened(provider)
                break
            except DeviceError as problem:
                passed_over.append(f"{provider.name}: {problem}")
        else:
            session = opened(tried[-1])
        session.passed_over = tuple(passed_over)
        return session

    @classmethod
    def _open_with(
        cls,
        provider: Provider,
        path: Path,
        *,
        threads: int | None,
        source: str,
        views: BatchRange,
        must_be_prepared: bool,
    ) -> Session:
        name = provider.execution_provider
        must_be_offered(name)
        if not path.is_file():
            raise ModelError(f"{source}: expected a model file, found none; 'spade-edge export' writes one")
        if name != CPU:
            outline = OnnxSummary.read(path, source=source)
            if outline.engines:
                raise ModelError(
                    f"{source}: expected a network, found a ready-made engine in it, which is executable code"
                )
        if provider.name in (CUDA, TENSORRT):
            return cls._open_on_gpu(
                provider,
                path,
                outline,
                threads=threads,
                source=source,
                views=views,
                must_be_prepared=must_be_prepared,
            )
        session = _loaded(lambda: open_session(str(path), providers=(name,), threads=threads), source=source)
        if session.get_providers()[0] != name:
            raise DeviceError(f"expected {name}, found {session.get_providers()[0]}; ask for {CPU}")
        return cls(session, source=source)

    @classmethod
    def _open_on_gpu(
        cls,
        provider: Provider,
        path: Path,
        outline: OnnxSummary,
        *,
        threads: int | None,
        source: str,
        views: BatchRange,
        must_be_prepared: bool,
    ) -> Session:
        card = ModelCard.from_metadata(outline.metadata, source=source)
        version, name = str(onnxruntime().__version__), provider.execution_provider
        if not provider.tf32 and (provider.name == TENSORRT or not knows_tf32(version)):
            os.environ.setdefault(TF32, "0")  # the only way
        chosen = [(EXECUTION_PROVIDERS[CUDA], provider.cuda_options(onnxruntime=version))]
        building: AbstractContextManager[None] = nullcontext()
        if provider.name == TENSORRT:
            engines = EngineCache.of(path, card, provider, views=views)
            if not engines.prepared():
                if must_be_prepared:
                    raise DeviceError("expected an engine built on this machine, found none; run 'spade-edge prepare'")
                building = engines.building()
            options = provider.tensorrt_options(card, folder=engines.folder, views=views, tensorrt=engines.tensorrt)
            chosen.insert(0, (name, options))  # CUDA runs what TensorRT leaves
        with building, tempfile.TemporaryDirectory(prefix="spade-edge-") as scratch:
            session = _loaded(
                lambda: open_gpu_session(str(path), providers=chosen, threads=threads, profile=Path(scratch, "run")),
                source=source,
            )
            opened = cls(session, source=source)
            opened._most = views.most
            if provider.cuda_graph:
                opened._run = _graph(session, card, provider)
            opened(np.zeros((1, *card.view.size, 3), np.float32))  # a list of providers proves nothing, a run does
            opened.node_fractions = node_fractions(Path(session.end_profiling()).read_bytes(), nodes=outline.nodes)
        if opened.node_fractions and name not in opened.node_fractions:
            raise DeviceError(f"expected {name} to run the network, found that it runs none of its nodes")
        return opened

    def __call__(self, views: NDArray[np.float32]) -> list[Pyramid]:
        """Run the network.

        Args:
            views: (N, H, W, 3) float32 BGR, 0 to 255.

        Returns:
            one pyramid for each view.

        Raises:
            ModelError: the network fails, or its image vector is not finite.
            DeviceError: it fails on a GPU.
        """
        most = self._most or max(len(views), 1)
        pyramids = []
        for first in range(0, len(views), most):
            some = views[first : first + most]
            try:
                *levels, images = self._run(some)
            except Exception as problem:  # onnxruntime's own classes share no base but Exception
                error = ModelError if self.provider == CPU else DeviceError
                raise error(f"{self._source}: the network fails on {self.provider}: {problem}") from None
            if not np.isfinite(images).all():
                raise ModelError(
                    f"{self._source}: expected finite features, found NaN or infinity; export the model again"
                )
            for i in range(len(some)):
                pyramids.append(Pyramid(levels=tuple(level[i] for level in levels), descriptor=images[i]))
        return pyramids

    def _run_anywhere(self, views: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return list(self._session.run(self.card.outputs, {INPUT: views}))

    def _check_ports(self) -> None:
        found_inputs = {port.name: (port.shape[1:], port.type) for port in self._session.get_inputs()}
        expected_inputs = {INPUT: ([*self.card.view.size, 3], "tensor(float)")}
        if found_inputs != expected_inputs:
            raise ModelError(f"{self._source}: expected the input {expected_inputs}, found {found_inputs}")
        found = {port.name: tuple(port.shape[1:]) for port in self._session.get_outputs()}
        for name, shape in self.card.output_shapes().items():
            if name not in found:
                raise ModelError(
                    f"{self._source}: expected the outputs {', '.join(self.card.outputs)}, found {', '.join(found)}; "
                    "export the model again"
                )
            # A free axis is a name or None; what is fixed must fit.
            if len(found[name]) != len(shape) or any(
                isinstance(have, int) and have != want for have, want in zip(found[name], shape, strict=True)
            ):
                raise ModelError(f"{self._source}: expected {name} of shape {shape}, found {found[name]}")


def _loaded(load: Callable[[], Any], *, source: str) -> Any:
    """Load a session.

    Raises:
        ModelError: onnxruntime refuses the file.
        DeviceError: it does not obtain the provider.
    """
    try:
        session = load()
    except DeviceError:
        raise
    except Exception as problem:  # onnxruntime's own classes share no base but Exception
        raise ModelError(
            f"{source}: expected an ONNX model, onnxruntime {onnxruntime().__version__} says: {problem}"
        ) from None
    give_back_memory()  # not after each small graph: a frame of a new size makes one
    return session


def _graph(session: Any, card: ModelCard, provider: Provider) -> FixedRun:
    """Runs of one view at fixed addresses."""
    return FixedRun(
        session,
        inputs=(INPUT, (1, *card.view.size, 3)),
        outputs={name: (1, *shape) for name, shape in card.output_shapes().items()},
        number=provider.device,
    )
