"""Execution providers: those compiled into onnxruntime, and those that work here.

The list of providers says what onnxruntime was built with. Only a run shows that a GPU works. A broken library can
crash or hang the process that loads it, so each provider is probed in a separate process.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spade_edge.runtime.network.tensorrt import PRECISIONS, computes
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.commands import Answer
from spade_edge.tools.hardware.host import Host

KIND = "providers"
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
NOT_TRIED = ("AzureExecutionProvider",)  # sends data to a service; it is compiled into the packages from PyPI
VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}")  # of TensorRT
PATIENCE, TENSORRT_PATIENCE = 60, 180  # seconds; TensorRT builds an engine first

# Message of the dynamic loader. onnxruntime's preceding search also reports libraries that are not needed.
MISSING = re.compile(r"with error: (lib[\w.+-]+): cannot open shared object file")


@dataclass(frozen=True)
class Probe:
    """The result of running a small graph on one provider.

    Attributes:
        provider: "CUDAExecutionProvider".
        reason: why it does not work, in one line; empty if it does.
        absent: the missing library, e.g. "libcudnn.so.9"; empty if there is another reason.
        needs: what onnxruntime requires, e.g. "cuDNN 9.* and CUDA 13.*"; empty if it does not say.
        full_bytes: whether full 8-bit products are exact; only for the CPU.
    """

    provider: str
    reason: str = ""
    absent: str = ""
    needs: str = ""
    full_bytes: bool | None = None

    @property
    def name(self) -> str:
        """The name that --provider takes."""
        return self.provider.removesuffix("ExecutionProvider").lower()


@dataclass(frozen=True)
class TensorRT:
    """TensorRT on this machine.

    Attributes:
        wanted: the library that onnxruntime was built for, such as "libnvinfer.so.10"; empty if it was built without.
        found: libraries that the loader finds, with their versions: {"libnvinfer.so.11": "11.4.1"}.
    """

    wanted: str = ""
    found: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The version that onnxruntime uses; empty if there is none."""
        return self.found.get(self.wanted, "")

    @property
    def others(self) -> str:
        """The versions that onnxruntime cannot use, in words; empty if there are none."""
        return " and ".join(f"{version} ({name})" for name, version in self.found.items() if name != self.wanted)


@dataclass(frozen=True)
class Providers:
    """onnxruntime and its providers, as probed in separate processes.

    Attributes:
        version: of onnxruntime; empty if it does not load.
        reason: why it does not load.
        probes: of each provider that is compiled in.
        tensorrt: the versions of TensorRT.
    """

    version: str = ""
    reason: str = ""
    probes: tuple[Probe, ...] = ()
    tensorrt: TensorRT = TensorRT()

    @classmethod
    def of(cls, host: Host) -> Providers:
        """Load onnxruntime, and probe each of its providers."""
        answer = ask(host, "onnxruntime", PATIENCE)
        value = parsed(answer)
        if not isinstance(value.get("version"), str) or not isinstance(value.get("providers"), list):
            return cls(reason=reason(answer))
        names = [name for name in map(str, value["providers"]) if name not in NOT_TRIED]
        probes = tuple(_probe(host, name) for name in names)
        gpu = any(name in (CUDA, TENSORRT) for name in names)
        return cls(version=value["version"], probes=probes, tensorrt=_tensorrt(host) if gpu else TensorRT())

    def works(self, provider: str) -> bool:
        """Whether a provider has computed the right result."""
        return any(probe.provider == provider and not probe.reason for probe in self.probes)

    def has(self, provider: str) -> bool:
        """Whether a provider is compiled in."""
        return any(probe.provider == provider for probe in self.probes)


def findings(providers: Providers, board: Board, *, gpu: bool, driver: bool, missing: bool) -> list[Finding]:
    """A row for each provider, and one for 8-bit products.

    Args:
        providers: the results of the probes.
        board: this board.
        gpu: whether this machine has an NVIDIA GPU.
        driver: whether its driver responds.
        missing: whether onnxruntime is not installed, which the packages report already.
    """
    if not providers.version:
        if missing:
            return [unknown(KIND, "onnxruntime", "install onnxruntime, see packages", why="onnxruntime is missing")]
        return [
            Finding(
                KIND,
                "onnxruntime",
                PROBLEM,
                f"does not load: {providers.reason}",
                "reinstall it; an illegal instruction (SIGILL) means a package built for another processor",
            )
        ]
    found = [_provider(probe, providers, board, gpu=gpu, driver=driver) for probe in providers.probes]
    found += _versions(providers)
    return [*found, *(_full_bytes(probe.full_bytes) for probe in providers.probes if probe.full_bytes is not None)]


def _tensorrt(host: Host) -> TensorRT:
    value = parsed(ask(host, "tensorrt", PATIENCE))
    wanted, found = value.get("wanted"), value.get("found")
    if not isinstance(wanted, str) or not isinstance(found, dict):
        return TensorRT()
    known = {str(name): str(version) for name, version in found.items() if VERSION.fullmatch(str(version))}
    return TensorRT(wanted=wanted, found=known)


def _versions(providers: Providers) -> list[Finding]:
    """Which TensorRT is here, whether onnxruntime can use it, and what it makes of models of each precision."""
    tensorrt, name = providers.tensorrt, "tensorrt version"
    if tensorrt.version:
        made = "; ".join(f"{one}: {computes(one, version=tensorrt.version)}" for one in PRECISIONS)
        beside = f"; beside it {tensorrt.others}, which is not used" if tensorrt.others else ""
        return [
            Finding(
                KIND,
                name,
                OK,
                f"{tensorrt.version} ({tensorrt.wanted}), as this onnxruntime needs; {made}{beside}",
            )
        ]
    if not tensorrt.others:
        return []  # the provider's own row says that TensorRT is missing
    if not tensorrt.wanted:
        return [
            Finding(
                KIND,
                name,
                NOTE,
                f"{tensorrt.others} is installed, but onnxruntime {providers.version} is built without TensorRT",
                "nothing if CUDA is fast enough; else an onnxruntime that is built with this version of TensorRT",
            )
        ]
    return [
        Finding(
            KIND,
            name,
            NOTE,
            f"onnxruntime {providers.version} is built for {tensorrt.wanted}, found {tensorrt.others}",
            f"install TensorRT {tensorrt.wanted.rpartition('.')[2]} beside it, or an onnxruntime that is built for the "
            "one that is here; until then --provider cuda",
        )
    ]


def _probe(host: Host, provider: str) -> Probe:
    answer = ask(host, provider, TENSORRT_PATIENCE if provider == TENSORRT else PATIENCE)
    value = parsed(answer)
    if value.get("provider") == provider and value.get("right") is True:
        full = value.get("bytes")
        return Probe(provider, full_bytes=full if isinstance(full, bool) else None)
    library = MISSING.search(answer.err)
    needs = re.search(r"Require (cuDNN \S+ and CUDA [0-9]+[0-9.*]*)\.(?:\s|$)", answer.err)
    return Probe(
        provider,
        reason=reason(answer),
        absent=library.group(1) if library is not None else "",
        needs=needs.group(1) if needs is not None else "",
    )


def _provider(probe: Probe, providers: Providers, board: Board, *, gpu: bool, driver: bool) -> Finding:
    if not probe.reason:
        return Finding(KIND, probe.name, OK, "works, and its results are right")
    if probe.provider == TENSORRT and probe.absent.startswith("libnvinfer"):
        here = f"only {providers.tensorrt.others} is" if providers.tensorrt.others else "TensorRT is not"
        return Finding(
            KIND,
            probe.name,
            NOTE,
            f"compiled in, but {here} installed: {probe.reason}",
            "nothing if CUDA is fast enough; else install the TensorRT version that onnxruntime was built for",
        )
    if probe.provider == TENSORRT and providers.has(CUDA) and not providers.works(CUDA):
        return Finding(KIND, probe.name, NOTE, f"does not run: {probe.reason}", "see cuda first, which TensorRT needs")
    return Finding(
        KIND, probe.name, PROBLEM, f"does not run: {probe.reason}", _remedy(probe, board, gpu=gpu, driver=driver)
    )


def _remedy(probe: Probe, board: Board, *, gpu: bool, driver: bool) -> str:
    if probe.provider == CPU:
        return "reinstall onnxruntime"
    if probe.provider not in (CUDA, TENSORRT):
        return "see onnxruntime.ai/docs/execution-providers for its requirements, or use another onnxruntime"
    if board.jetson:
        return "install NVIDIA's onnxruntime-gpu wheel for this JetPack, and its CUDA: sudo apt install nvidia-jetpack"
    if not gpu:
        return "there is no NVIDIA GPU: pip uninstall onnxruntime-gpu, then pip install 'spade-edge[cpu]'"
    if not driver or probe.absent.startswith("libcuda.so"):
        return "install the NVIDIA driver; start a container with the GPU (docker run --gpus all)"
    if probe.absent:
        needs = probe.needs or "the CUDA and cuDNN that onnxruntime was built for"
        return f"install {needs}: pip install 'onnxruntime-gpu[cuda,cudnn]', or NVIDIA's packages and ldconfig"
    return "check that the driver is new enough (nvidia-smi), and that onnxruntime is built for this GPU and its CUDA"


def _full_bytes(exact: bool) -> Finding:
    name = "full bytes"
    if exact:
        return Finding(KIND, name, OK, "full 8-bit products are exact on the CPU, so int8 models compute as intended")
    return Finding(
        KIND,
        name,
        NOTE,
        "full 8-bit products saturate on this CPU: int8 models with 8-bit weights can be wrong",
        "nothing for models of 'spade-edge export --target cpu', which have 7-bit weights; 'spade-edge parity' checks",
    )


def ask(host: Host, what: str, patience: float) -> Answer:
    """Run `probe` in a separate process."""
    # It must find the packages that this process finds, and none in the current folder.
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "spade_edge.tools.doctor.probe", what]
    return host.run(command, timeout=patience, environment=environment)


def parsed(answer: Answer) -> dict[str, Any]:
    """The JSON object that the probe printed; empty if it printed none."""
    try:
        value = json.loads(answer.out) if answer.code == 0 else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def reason(answer: Answer) -> str:
    """Why a probe failed, in one line, from its output; never empty."""
    return _said(answer) or "no reason given"


def _said(answer: Answer) -> str:
    if answer.code is None:
        return answer.err
    if answer.code < 0:
        try:
            return f"the process crashed ({signal.Signals(-answer.code).name})"
        except ValueError:
            return f"the process crashed (signal {-answer.code})"
    missing = MISSING.search(answer.err)
    if missing is not None:
        return f"{missing.group(1)} cannot be loaded"
    value = parsed(answer)
    error = value.get("error", "")
    if isinstance(error, str) and error and "default CPU EP" not in error:
        return _short(error)
    fallen = re.search(
        r"EP Error (.+) when using ", answer.err
    )  # onnxruntime 1.17 falls back to the CPU, and prints why
    if fallen is not None:
        return _short(fallen.group(1))
    logged = re.findall(r"\[[EW]:onnxruntime:[^]]*\] (?!This[ ]session contains graph nodes)(.+)", answer.err)
    if logged:
        return _short(logged[0])
    if error:
        return "onnxruntime would have run it on the CPU instead"
    if value.get("right") is False:
        return "the numbers are wrong"
    if value:
        return f"{str(value.get('provider'))[:60]} ran instead"
    last = answer.err.strip().splitlines()[-1:] or [f"exit code {answer.code}"]
    return _short(last[0])


def _short(text: str) -> str:
    """A message without references to the source code of onnxruntime, at most 200 characters long."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"/\S+\.(?:cc|cu|h):[0-9]+ (?:\S+ )?[\w:<>~]+\([^)]*\)(?: \[with[^]]*\])?", "", text)
    text = re.sub(r"\[ONNXRuntimeError\] : [0-9]+ : [A-Z_]+ : ", "", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= 200 else f"{text[:197]}..."
