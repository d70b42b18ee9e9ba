"""The network on an onnxruntime session: views in, pyramids out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.engine import CPU, give_back_memory, onnxruntime, open_session
from spade_edge.runtime.errors import DeviceError, ModelError
from spade_edge.runtime.model import INPUT, ModelCard
from spade_edge.runtime.pyramid import Pyramid


class Session:
    """A pyramid model, ready to run.

    Args:
        session: an onnxruntime.InferenceSession of a model that `spade-edge export` wrote.
        source: what messages call the model.

    Raises:
        ModelError: the model has no card, or its inputs and outputs are not what the card says.
    """

    def __init__(self, session: Any, *, source: str = "model") -> None:
        self.card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map, source=source)
        self.provider: str = session.get_providers()[0]
        self._session = session
        self._source = source
        self._check_ports()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        providers: Sequence[str] = (CPU,),
        threads: int | None = None,
        source: str | None = None,
    ) -> Session:
        """Load a model file.

        Args:
            path: the ONNX file.
            providers: onnxruntime execution providers in order of preference; the first one must be obtained.
            threads: onnxruntime's threads for one run; None leaves the choice to onnxruntime (one a core).
            source: what messages call the model; None for the path.

        Raises:
            DeviceError: onnxruntime is not installed, or the first provider cannot be had on this machine.
            ModelError: the file is not a model that can be run here.
        """
        package = onnxruntime()
        offered = package.get_available_providers()
        if not providers or providers[0] not in offered:
            raise DeviceError(
                f"expected one of the providers of this machine's onnxruntime ({', '.join(offered)}), "
                f"found {', '.join(providers) or 'none'}"
            )
        source = source or str(path)
        if not path.is_file():
            raise ModelError(f"{source}: expected a model file, found none; 'spade-edge export' writes one")
        try:
            session = open_session(str(path), providers=providers, threads=threads)
        except Exception as problem:  # onnxruntime's own classes share no base but Exception
            raise ModelError(
                f"{source}: expected an ONNX model, onnxruntime {package.__version__} says: {problem}"
            ) from None
        give_back_memory()  # not after each small graph: a frame of a new size makes one
        if session.get_providers()[0] != providers[0]:
            raise DeviceError(
                f"expected provider {providers[0]}, found {session.get_providers()[0]}: "
                f"the GPU libraries do not load on this machine; ask for {CPU} to score without them"
            )
        return cls(session, source=source)

    def __call__(self, views: NDArray[np.float32]) -> list[Pyramid]:
        """Run the network.

        Args:
            views: (N, H, W, 3) float32 BGR, 0 to 255.

        Returns:
            one pyramid for each view.

        Raises:
            ModelError: the network fails, or its image vector is not finite.
        """
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(self.card.outputs, {INPUT: views})
        except Exception as problem:
            raise ModelError(f"{self._source}: the network fails on {self.provider}: {problem}") from None
        *levels, images = outputs
        if not np.isfinite(images).all():
            raise ModelError(f"{self._source}: expected finite features, found NaN or infinity; export the model again")
        return [Pyramid(levels=tuple(level[i] for level in levels), image=images[i]) for i in range(len(views))]

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
