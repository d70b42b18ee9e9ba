"""Providers: which onnxruntime execution provider runs the network, and with which options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spade_edge.runtime.errors import DeviceError, UsageError
from spade_edge.runtime.network.card import INPUT, ModelCard
from spade_edge.runtime.network.tensorrt import strongly_typed

CPU, CUDA, TENSORRT, AUTO = "cpu", "cuda", "tensorrt", "auto"
EXECUTION_PROVIDERS = {
    CPU: "CPUExecutionProvider",
    CUDA: "CUDAExecutionProvider",
    TENSORRT: "TensorrtExecutionProvider",
}
NAMES = (*EXECUTION_PROVIDERS, AUTO)
FALLBACKS = {AUTO: (TENSORRT, CUDA, CPU), TENSORRT: (TENSORRT, CUDA)}
CONVOLUTIONS = ("heuristic", "exhaustive", "default")
ARENAS = {"as-requested": "kSameAsRequested", "power-of-two": "kNextPowerOfTwo"}
GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class Provider:
    """What runs the network. Matching stays on the CPU.

    Attributes:
        name: "cpu", "cuda" or "tensorrt"; "auto" for the best of them that is ready and works; or the name of another
            execution provider of onnxruntime, which gets no options.
        device: number of the GPU.
        memory: limit of CUDA's arena on the GPU, in bytes; None for no limit.
        workspace: bytes that TensorRT may use in addition to the weights.
        fp16, int8: whether TensorRT up to version 10 may use them; None to follow the model's precision. Later versions
            always follow the model, and anything else is refused.
        tf32: whether float32 may be rounded to TensorFloat-32 (10 bits of mantissa): faster, but scores differ from
            those of a CPU. TensorRT uses it by default and has no option against it, so False sets
            NVIDIA_TF32_OVERRIDE=0 for the process, unless that variable is already set.
        cuda_graph: launch all kernels of the network at once. Views then go through the network one at a time.
        convolutions: how cuDNN's algorithms are chosen: "heuristic" gives the same at every start; "exhaustive" tries
            them, so scores may differ in the last digits from start to start; "default" takes the first.
        arena: how the GPU's memory is allocated: "as-requested" or "power-of-two".
        engines: private folder for TensorRT's engines; None for `spade-edge` in $XDG_CACHE_HOME or ~/.cache.
    """

    name: str = CPU
    device: int = 0
    memory: int | None = None
    workspace: int = GIBIBYTE
    fp16: bool | None = None
    int8: bool | None = None
    tf32: bool = False
    cuda_graph: bool = False
    convolutions: str = CONVOLUTIONS[0]
    arena: str = "as-requested"
    engines: Path | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES and (
            not self.name.endswith("ExecutionProvider") or self.name in EXECUTION_PROVIDERS.values()
        ):
            raise UsageError(f"expected a provider among {', '.join(NAMES)}, found '{self.name}'")
        if not 0 <= self.device < 1024:
            raise UsageError(f"expected a GPU number of 0 or more, found {self.device}")
        for what, size in (("memory", self.memory), ("workspace", self.workspace)):
            if size is not None and not 1 <= size < 1 << 63:
                raise UsageError(f"expected {what} of at least 1 byte, found {size}")
        if self.convolutions not in CONVOLUTIONS:
            raise UsageError(f"expected convolutions among {', '.join(CONVOLUTIONS)}, found '{self.convolutions}'")
        if self.arena not in ARENAS:
            raise UsageError(f"expected arena among {', '.join(ARENAS)}, found '{self.arena}'")

    @property
    def execution_provider(self) -> str:
        """The provider's name in onnxruntime."""
        return EXECUTION_PROVIDERS.get(self.name, self.name)

    @property
    def memory_device(self) -> str:
        """Where the features are, as onnxruntime calls it: "cuda", or "cpu" for all else."""
        return CUDA if self.name in (CUDA, TENSORRT) else CPU

    def beside(self, *, onnxruntime: str, cuda_graph: bool = False) -> dict[str, Any]:
        """Where small graphs run beside the network, as keyword arguments of a `DeviceKernel`.

        CUDA also stands beside TensorRT. Nothing is rounded to TensorFloat-32, whatever the network is.

        Args:
            onnxruntime: its version.
            cuda_graph: whether the graph is captured.
        """
        if self.memory_device == CPU:
            return {"execution_provider": EXECUTION_PROVIDERS[CPU]}
        exact = replace(self, name=CUDA, tf32=False, cuda_graph=cuda_graph)
        return {
            "execution_provider": EXECUTION_PROVIDERS[CUDA],
            "options": exact.cuda_options(onnxruntime=onnxruntime),
            "number": self.device,
        }

    def cuda_options(self, *, onnxruntime: str) -> dict[str, str]:
        """Options of CUDAExecutionProvider.

        Args:
            onnxruntime: its version; a version refuses options that it does not know.
        """
        options = {
            "device_id": str(self.device),
            "arena_extend_strategy": ARENAS[self.arena],
            "cudnn_conv_algo_search": self.convolutions.upper(),
        }
        if self.memory is not None:
            options["gpu_mem_limit"] = str(self.memory)
        if knows_tf32(onnxruntime):
            options["use_tf32"] = str(int(self.tf32))
        if self.cuda_graph and self.name == CUDA:
            options["enable_cuda_graph"] = "1"
        return options

    def tensorrt_options(self, card: ModelCard, *, folder: Path, views: BatchRange, tensorrt: str) -> dict[str, str]:
        """Options of TensorrtExecutionProvider, which takes "True" and "False" instead of 1 and 0.

        Args:
            card: the model's card.
            folder: the folder of the engines.
            views: the numbers of views in one run.
            tensorrt: TensorRT's version.

        Raises:
            UsageError: as `flags`.
        """
        options = {
            "device_id": str(self.device),
            "trt_max_workspace_size": str(self.workspace),
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(folder),
        }
        # Without these, TensorRT would rebuild the engine for every new number of views.
        for which, count in (("min", views.least), ("opt", views.usual), ("max", views.most)):
            shape = "x".join(map(str, (count, *card.view.size, 3)))
            options[f"trt_profile_{which}_shapes"] = f"{INPUT}:{shape}"
        fp16, int8 = self.flags(card.precision, tensorrt=tensorrt)
        if fp16:
            options["trt_fp16_enable"] = "True"
        if int8:
            options["trt_int8_enable"] = "True"
        if self.cuda_graph:
            options["trt_cuda_graph_enable"] = "True"
        return options

    def flags(self, precision: str, *, tensorrt: str) -> tuple[bool, bool]:
        """Whether TensorRT's builder is told that it may use fp16 and int8.

        Args:
            precision: the model's: "fp32", "fp16" or "int8".
            tensorrt: TensorRT's version.

        Raises:
            UsageError: fp16 or int8 is asked for or forbidden in a version that has no flags for it, and the model is
                typed otherwise.
        """
        typed = {"fp16": precision == "fp16", "int8": precision == "int8"}
        asked = {"fp16": self.fp16, "int8": self.int8}
        if not strongly_typed(tensorrt):
            fp16, int8 = (typed[name] if asked[name] is None else bool(asked[name]) for name in ("fp16", "int8"))
            return fp16, int8
        for name, choice in asked.items():
            if choice is not None and choice != typed[name]:
                raise UsageError(
                    f"expected no choice of {name} with TensorRT {tensorrt}, which has no flag for it and computes in "
                    f"the types of the model ({precision}), found {name}={choice}; leave it out, or export the model "
                    f"with --precision {name if choice else 'fp32'} and build the bundle again"
                )
        return False, False


@dataclass(frozen=True)
class BatchRange:
    """How many views go through the network in one run; an engine is tuned for `usual`."""

    usual: int
    most: int
    least: int = 1

    @classmethod
    def of(cls, provider: Provider, views: int, *, most: int) -> BatchRange:
        """The range for frames of `views` views, of which at most `most` go through the network in one run."""
        most = 1 if provider.cuda_graph else most  # a CUDA graph has one shape
        return cls(usual=min(views, most), most=most)


Providers = str | Provider | Sequence[str | Provider]


def ranked(providers: Providers) -> tuple[Provider, ...]:
    """Providers in order of preference.

    Args:
        providers: one or several, each as a `Provider`, by its short name, or by its name in onnxruntime.

    Raises:
        DeviceError: the list is empty.
        UsageError: a provider is unknown.
    """
    several = [providers] if isinstance(providers, (str, Provider)) else list(providers)
    if not several:
        raise DeviceError(f"expected a provider among {', '.join(NAMES)}, found none")
    short = {long: name for name, long in EXECUTION_PROVIDERS.items()}
    return tuple(each if isinstance(each, Provider) else Provider(short.get(each, each)) for each in several)


def with_fallbacks(providers: Sequence[Provider]) -> tuple[Provider, ...]:
    """The providers up to the CPU, with their fallbacks: CUDA for TensorRT, and finally the CPU."""
    tried: dict[str, Provider] = {}
    for provider in (*providers, Provider(CPU)):
        for name in FALLBACKS.get(provider.name, (provider.name,)):
            tried.setdefault(name, replace(provider, name=name))
        if CPU in tried:
            break
    return tuple(tried.values())


def knows_tf32(onnxruntime: str) -> bool:
    """Whether CUDAExecutionProvider of this version of onnxruntime has the option `use_tf32`."""
    major, _, rest = onnxruntime.partition(".")
    return (int(major), int(rest.partition(".")[0])) >= (1, 18)
