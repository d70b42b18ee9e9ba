"""The network on an onnxruntime session: views in, pyramids out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DeviceError, ModelError
from spade_edge.runtime.kernels.device_kernel import Value
from spade_edge.runtime.kernels.ort import CPU, ERROR, give_back_memory, lacks_memory, onnxruntime, open_session
from spade_edge.runtime.network.card import DESCRIPTOR, INPUT, ModelCard
from spade_edge.runtime.network.engine_cache import TF32, EngineCache
from spade_edge.runtime.network.gpu_session import FATAL, FixedRun, must_be_offered, open_gpu_session
from spade_edge.runtime.network.onnx_limits import check_limits
from spade_edge.runtime.network.onnx_outline import OnnxOutline
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
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
from spade_edge.runtime.network.quiet import QuietFirstRuns, quiet
from spade_edge.runtime.network.resident import ResidentPyramids

FLOAT32 = "tensor(float)"  # onnxruntime's name
CPU_MEMORY = "cpu"  # where values on the host are, as onnxruntime calls it
Run = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]  # views to the model's outputs


class Session:
    """A pyramid model, ready to run.

    Args:
        session: an onnxruntime.InferenceSession of a model that `spade-edge export` wrote.
        source: what messages call the model.
        most: largest number of views in one run; None for any number.
        run: runs the session on views of shape (N, H, W, 3); None for `session.run`.
        placement: what it was opened on, and the number of the GPU.
        fixed: runs of a CUDA graph, if that is what `run` does.

    Attributes:
        device: "cuda" or "cpu", where the features are.
        provider: the execution provider that runs the network.
        node_fractions: execution provider to the fraction of the network's nodes that it runs, largest first, measured
            in a run; empty if unknown.
        passed_over: the preferred providers that were not obtained, each with the reason.

    Raises:
        ModelError: the model has no card, or its inputs and outputs differ from the card.
    """

    def __init__(
        self,
        session: Any,
        *,
        source: str = "model",
        most: int | None = None,
        run: Run | None = None,
        placement: Provider | None = None,
        fixed: FixedRun | None = None,
    ) -> None:
        self.card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map, source=source)
        self.provider: str = session.get_providers()[0]
        self.node_fractions: Mapping[str, float] = {CPU: 1.0} if session.get_providers() == [CPU] else {}
        self.passed_over: tuple[str, ...] = ()
        self._session = session
        self.placement = Provider() if placement is None else placement
        self.device = self.placement.memory_device
        self._fixed = fixed
        self._resident_runs: set[int] = set()  # numbers of views
        self._source = source
        self._most = most
        self._run: Run = self._run_anywhere if run is None else run
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

        On a GPU the network runs once as a check. If TensorRT has no engine prepared for this machine, it builds one
        first: 10 to 30 minutes on a small Jetson, without progress output and without reacting to Ctrl-C.

        Args:
            path: the ONNX file.
            providers: what runs it, in order of preference; the first must be obtained.
            allow_fallback: if a provider is not available, try the next one, and finally the CPU.
            threads: onnxruntime's threads for one run; None leaves the choice to onnxruntime (one per core).
            source: what messages call the model; None for the path.
            views: number of views of a frame, for which TensorRT's engine is tuned.
            most: largest number of views in one run.

        Raises:
            DeviceError: onnxruntime is not installed, or the provider is not available on this machine.
            ModelError: the file is not a model that can run here.
            UsageError: an unknown provider.
        """
        wanted = ranked(providers)
        auto = any(provider.name == AUTO for provider in wanted)
        opening = _Opening(
            path=path,
            source=source or str(path),
            threads=threads,
            views=views,
            most=most,
            # "auto" must start quickly, so it takes TensorRT only if an engine is ready.
            must_be_prepared=auto and all(provider.name != TENSORRT for provider in wanted),
        )
        return _first_obtained(with_fallbacks(wanted) if auto or allow_fallback else wanted[:1], opening.on)

    def __call__(self, views: NDArray[np.float32]) -> list[Pyramid]:
        """Run the network.

        Args:
            views: (N, H, W, 3) float32 BGR, 0 to 255.

        Returns:
            one pyramid per view.

        Raises:
            ModelError: the network fails, or its global descriptor is not finite.
            DeviceError: the network fails on a GPU, or memory does not suffice.
        """
        most = self._most or max(len(views), 1)
        pyramids = []
        for first in range(0, len(views), most):
            some = views[first : first + most]
            with self._failures():
                *levels, descriptors = self._run(some)
            self._finite(descriptors)
            for i in range(len(some)):
                pyramids.append(Pyramid(levels=tuple(level[i] for level in levels), descriptor=descriptors[i]))
        return pyramids

    @property
    def takes_values(self) -> bool:
        """Whether `resident` takes views that are on the device; the input of a CUDA graph has a place of its own."""
        return self._fixed is None

    def resident(self, views: NDArray[np.float32] | Value) -> ResidentPyramids:
        """Run the network, and leave its features where they are computed.

        Args:
            views: (N, H, W, 3) float32 BGR, 0 to 255, on the host or on the device; as many as one run takes.

        Returns:
            the features. Those of a CUDA graph are overwritten by its next run.

        Raises:
            ModelError, DeviceError: as for `__call__`.
        """
        count = len(views) if isinstance(views, np.ndarray) else int(views.shape()[0])
        # cuDNN prints while it looks for ways to compute a new number of views.
        silent = nullcontext() if self.device == CPU_MEMORY or count in self._resident_runs else quiet()
        with silent, self._failures():
            *levels, descriptors = self._run_in_place(views)
        self._resident_runs.add(count)
        return ResidentPyramids(levels=tuple(levels), descriptors=self._finite(np.array(descriptors.numpy())))

    def _run_in_place(self, views: NDArray[np.float32] | Value) -> list[Value]:
        if self._fixed is not None:
            return self._fixed.in_place(views)
        binding = self._session.io_binding()
        if isinstance(views, np.ndarray):
            binding.bind_cpu_input(INPUT, np.ascontiguousarray(views))
        else:
            binding.bind_ortvalue_input(INPUT, views)
        for name in self.card.outputs:
            # The global descriptor is compared on the host.
            binding.bind_output(name, *((CPU_MEMORY,) if name == DESCRIPTOR else (self.device, self.placement.device)))
        self._session.run_with_iobinding(binding)
        return list(binding.get_outputs())

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what onnxruntime raises in a run into a ModelError, or a DeviceError on a GPU or if memory is short."""
        try:
            yield
        except Exception as problem:  # onnxruntime's own classes share no base but Exception
            error = ModelError if self.provider == CPU and not lacks_memory(problem) else DeviceError
            raise error(f"{self._source}: the network fails on {self.provider}: {problem}") from None

    def _finite(self, descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same global descriptors.

        Raises:
            ModelError: they are not finite.
        """
        if not np.isfinite(descriptors).all():
            raise ModelError(f"{self._source}: expected finite features, found NaN or infinity; export the model again")
        return descriptors

    def _run_anywhere(self, views: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return list(self._session.run(self.card.outputs, {INPUT: views}))

    def _check_ports(self) -> None:
        found_inputs = {port.name: (port.shape[1:], port.type) for port in self._session.get_inputs()}
        expected_inputs = {INPUT: ([*self.card.view.size, 3], FLOAT32)}
        if found_inputs != expected_inputs:
            raise ModelError(f"{self._source}: expected the input {expected_inputs}, found {found_inputs}")
        found = {port.name: tuple(port.shape[1:]) for port in self._session.get_outputs()}
        types = {port.name: port.type for port in self._session.get_outputs()}
        for name, shape in self.card.output_shapes().items():
            if name not in found:
                raise ModelError(
                    f"{self._source}: expected the outputs {', '.join(self.card.outputs)}, found {', '.join(found)}; "
                    "export the model again"
                )
            if types[name] != FLOAT32:
                raise ModelError(f"{self._source}: expected {name} of type {FLOAT32}, found {types[name]}")
            # A free axis is a name or None; a fixed one must agree with the card.
            if len(found[name]) != len(shape) or any(
                isinstance(have, int) and have != want for have, want in zip(found[name], shape, strict=True)
            ):
                raise ModelError(f"{self._source}: expected {name} of shape {shape}, found {found[name]}")


def _first_obtained(providers: Sequence[Provider], open_on: Callable[[Provider], Session]) -> Session:
    """Open on the first provider that is available; the session keeps why others were passed over.

    Raises:
        DeviceError: the last one is not available either.
    """
    passed_over: list[str] = []
    for provider in providers[:-1]:
        try:
            session = open_on(provider)
            break
        except DeviceError as problem:
            passed_over.append(f"{provider.name}: {problem}")
    else:
        session = open_on(providers[-1])
    session.passed_over = tuple(passed_over)
    return session


@dataclass(frozen=True)
class _Opening:
    """A model file and how it is to be opened, whichever provider runs it. The fields are those of `Session.open`."""

    path: Path
    source: str
    threads: int | None
    views: int
    most: int
    must_be_prepared: bool

    def on(self, provider: Provider) -> Session:
        """Open the model on one provider.

        Raises:
            DeviceError: the provider is not available.
            ModelError: the file is not a model that can run here.
        """
        must_be_offered(provider.execution_provider)
        if not self.path.is_file():
            raise ModelError(f"{self.source}: expected a model file, found none; 'spade-edge export' writes one")
        outline = OnnxOutline.read(self.path, source=self.source)
        card = ModelCard.from_metadata(outline.metadata, source=self.source)
        check_limits(outline, card, views=max(self.most, VIEWS_PER_RUN), source=self.source)
        if provider.name in (CUDA, TENSORRT):
            return self._on_gpu(provider, card, nodes=len(outline.nodes))
        return self._on_cpu(provider)

    def _on_cpu(self, provider: Provider) -> Session:
        """Open on the CPU, or on another execution provider of onnxruntime that is taken as it is."""
        name = provider.execution_provider
        session = self._loaded(lambda: open_session(str(self.path), providers=(name,), threads=self.threads))
        if session.get_providers()[0] != name:
            raise DeviceError(f"expected {name}, found {session.get_providers()[0]}; ask for {CPU}")
        return Session(session, source=self.source, placement=provider)

    def _on_gpu(self, provider: Provider, card: ModelCard, *, nodes: int) -> Session:
        """Open with CUDA or TensorRT, and let one run prove that the provider runs the network."""
        views = BatchRange.of(provider, self.views, most=self.most)
        chosen, missing = self._gpu_providers(provider, card, views)
        severity = FATAL if missing is None else ERROR  # TensorRT logs why it cannot build an engine
        with (
            quiet() if missing is None else missing.building(),
            tempfile.TemporaryDirectory(prefix="spade-edge-") as scratch,
        ):
            session = self._loaded(
                lambda: open_gpu_session(
                    str(self.path),
                    providers=chosen,
                    threads=self.threads,
                    profile=Path(scratch, "run"),
                    severity=severity,
                )
            )
            fixed = _fixed_run(session, card, provider) if provider.cuda_graph else None
            opened = Session(
                session,
                source=self.source,
                most=views.most,
                run=QuietFirstRuns(_plain_run(session, card) if fixed is None else fixed),
                placement=provider,
                fixed=fixed,
            )
            opened(np.zeros((1, *card.view.size, 3), np.float32))  # a list of providers proves nothing, a run does
            profile = Path(session.end_profiling()).read_bytes()
            opened.node_fractions = node_fractions(profile, nodes=nodes)
        name = provider.execution_provider
        if opened.node_fractions and name not in opened.node_fractions:
            raise DeviceError(f"expected {name} to run the network, found that it runs none of its nodes")
        return opened

    def _gpu_providers(
        self, provider: Provider, card: ModelCard, views: BatchRange
    ) -> tuple[list[tuple[str, dict[str, str]]], EngineCache | None]:
        """Execution providers with their options, and the engines that TensorRT has to build, if any."""
        version = str(onnxruntime().__version__)
        if not provider.tf32 and (provider.name == TENSORRT or not knows_tf32(version)):
            os.environ.setdefault(TF32, "0")  # these have no option for it
        cuda = EXECUTION_PROVIDERS[CUDA], provider.cuda_options(onnxruntime=version)
        if provider.name == CUDA:
            return [cuda], None
        engines = EngineCache.of(self.path, card, provider, views=views)
        prepared = engines.prepared()
        if not prepared and self.must_be_prepared:
            raise DeviceError("expected an engine built on this machine, found none; run 'spade-edge prepare'")
        options = provider.tensorrt_options(card, folder=engines.folder, views=views, tensorrt=engines.tensorrt)
        # CUDA runs the nodes that TensorRT does not support.
        return [(provider.execution_provider, options), cuda], None if prepared else engines

    def _loaded(self, load: Callable[[], Any]) -> Any:
        """Load a session.

        Raises:
            ModelError: onnxruntime refuses the file.
            DeviceError: onnxruntime does not obtain the provider.
        """
        try:
            session = load()
        except DeviceError:
            raise
        except Exception as problem:  # onnxruntime's own classes share no base but Exception
            raise ModelError(
                f"{self.source}: expected an ONNX model, onnxruntime {onnxruntime().__version__} says: {problem}"
            ) from None
        give_back_memory()  # here, and not after each small graph, as a frame of a new size makes one
        return session


def _plain_run(session: Any, card: ModelCard) -> Run:
    """Runs of any number of views."""
    return lambda views: list(session.run(card.outputs, {INPUT: views}))


def _fixed_run(session: Any, card: ModelCard, provider: Provider) -> FixedRun:
    """Runs of one view at fixed addresses."""
    return FixedRun(
        session,
        inputs=(INPUT, (1, *card.view.size, 3)),
        outputs={name: (1, *shape) for name, shape in card.output_shapes().items()},
        number=provider.device,
    )
