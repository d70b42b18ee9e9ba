"""What runs the network: an onnxruntime execution provider, with the options that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spade_edge.runtime.errors import DeviceError, UsageError
from spade_edge.runtime.network.card import INPUT, ModelCard

CPU, CUDA, TENSORRT, AUTO = "cpu", "cuda", "tensorrt", "auto"
EXECUTION_PROVIDERS = {
    CPU: "CPUExecutionProvider",
    CUDA: "CUDAExecutionProvider",
    TENSORRT: "TensorrtExecutionProvider",
}
NAMES = (*EXECUTION_PROVIDERS, AUTO)
STAND_INS = {AUTO: (TENSORRT, CUDA, CPU), TENSORRT: (TENSORRT, CUDA)}
CONVOLUTIONS = ("heuristic", "exhaustive", "default")
ARENAS = {"as-requested": "kSameAsRequested", "power-of-two": "kNextPowerOfTwo"}
GIBIBYTE = 1 << 30
OWN_CARD = 10  # the last TensorRT whose builder has to be told that fp16 or int8 are allowed; later it is in the graph


@dataclass(frozen=True)
class Provider:
    """What runs the network; matching stays on the CPU.

    Attributes:
        name: "cpu", "cuda", "tensorrt"; "auto": the best of them that is ready and works; or the name of another
            execution provider of onnxruntime, which is taken as it comes.
        device: number of the GPU.
        memory: bytes that CUDA's arena takes of the GPU at most; None for no limit.
        workspace: bytes that TensorRT may use beside the weights.
        fp16, int8: whether TensorRT may use them, up to version 10; None as the model's precision says. Later versions
            take precision from the model alone.
        tf32: whether float32 may be rounded to TensorFloat-32 (10 bits of mantissa), faster, with other scores than on
            a CPU. TensorRT has this on and no option against it: False sets NVIDIA_TF32_OVERRIDE=0 for the process,
            unless that variable is set already.
        cuda_graph: launch all of the network's kernels at once. BatchRange then go through it one at a time.
        convolutions: how cuDNN's algorithms are chosen: "heuristic", the same at every start; "exhaustive", by trying
            them, so that scores may differ from start to start in the last digits; "default", the first.
        arena: how the GPU's memory is taken: "as-requested" or "power-of-two".
        engines: private folder for what TensorRT builds; None for spade-edge in $XDG_CACHE_HOME or ~/.cache.
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
            raise UsageError(f"expected a provider among {', '.join(NAMES)}, found {self.name!r}")
        if not 0 <= self.device < 1024:
            raise UsageError(f"expected the number of a GPU from 0, found {self.device}")
        for what, size in (("memory", self.memory), ("workspace", self.workspace)):
            if size is not None and not 1 <= size < 1 << 63:
                raise UsageError(f"expected {what} of at least 1 byte, found {size}")
        if self.convolutions not in CONVOLUTIONS:
            raise UsageError(f"expected convolutions among {', '.join(CONVOLUTIONS)}, found {self.convolutions!r}")
        if self.arena not in ARENAS:
            raise UsageError(f"expected arena among {', '.join(ARENAS)}, found {self.arena!r}")

    @property
    def execution_provider(self) -> str:
        """Its name in onnxruntime."""
        return EXECUTION_PROVIDERS.get(self.name, self.name)

    def cuda_options(self, *, onnxruntime: str) -> dict[str, str]:
        """Options of CUDAExecutionProvider.

        Args:
            onnxruntime: its version: an option that it does not know yet would be refused.
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
        """Options of TensorrtExecutionProvider; it takes "True" and "False", not 1 and 0.

        Args:
            card: the model's.
            folder: for engines.
            views: how many go through the network at once.
            tensorrt: its version.
        """
        options = {
            "device_id": str(self.device),
            "trt_max_workspace_size": str(self.workspace),
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(folder),
        }
        # Without them every new number of views would build the engine again.
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
            precision: of the model: "fp32", "fp16" or "int8".
            tensorrt: its version.
        """
        if int(tensorrt.partition(".")[0]) > OWN_CARD:
            return False, False
        fp16 = precision == "fp16" if self.fp16 is None else self.fp16
        int8 = precision == "int8" if self.int8 is None else self.int8
        return fp16, int8


@dataclass(frozen=True)
class BatchRange:
    """How many views go through the network at once: `usual` is what an engine is tuned for."""

    usual: int
    most: int
    least: int = 1

    @classmethod
    def of(cls, provider: Provider, views: int, *, most: int) -> BatchRange:
        """For frames of so many views, `most` of them at once."""
        most = 1 if provider.cuda_graph else most  # a graph holds one shape
        return cls(usual=min(views, most), most=most)


Providers = str | Provider | Sequence[str | Provider]


def ranked(providers: Providers) -> tuple[Provider, ...]:
    """Providers in order of preference.

    Args:
        providers: one or several, each as a `Provider`, by its short name, or by its name in onnxruntime.

    Raises:
        DeviceError: none.
        UsageError: an unknown one.
    """
    several = [providers] if isinstance(providers, (str, Provider)) else list(providers)
    if not several:
        raise DeviceError(f"expected a provider among {', '.join(NAMES)}, found none")
    short = {long: name for name, long in EXECUTION_PROVIDERS.items()}
    return tuple(each if isinstance(each, Provider) else Provider(short.get(each, each)) for each in several)


def with_fallbacks(providers: Sequence[Provider]) -> tuple[Provider, ...]:
    """The same up to the CPU, with what can stand in: CUDA for TensorRT, and in the end the CPU."""
    tried: dict[str, Provider] = {}
    for provider in (*providers, Provider(CPU)):
        for name in STAND_INS.get(provider.name, (provider.name,)):
            tried.setdefault(name, replace(provider, name=name))
        if CPU in tried:
            break
    return tuple(tried.values())


def knows_tf32(onnxruntime: str) -> bool:
    """Whether CUDAExecutionProvider of this version of onnxruntime has the option `use_tf32`."""
    major, _, rest = onnxruntime.partition(".")
    return (int(major), int(rest.partition(".")[0])) >= (1, 18)
