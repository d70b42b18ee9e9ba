"""Execution providers: those that onnxruntime has compiled in, and those that compute something here.

The list of providers says what onnxruntime was built with. Only a run shows a working GPU, and as a broken library can
crash or hang the process that loads it, each provider runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from typing import Any

from spade_edge.tools.doctor.board import Board
from spade_edge.tools.doctor.commands import Answer
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.doctor.host import Host

KIND = "providers"
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
NOT_TRIED = ("AzureExecutionProvider",)  # sends the work to a service; PyPI's packages have it compiled in
PATIENCE, TENSORRT_PATIENCE = 60, 180  # seconds; TensorRT builds an engine first

# The loader's words, as onnxruntime passes them on; its search beforehand complains of what is not needed, too.
MISSING = re.compile(r"with error: (lib[\w.+-]+): cannot open shared object file")


@dataclass(frozen=True)
class Proof:
    """What came of running a small graph on one provider.

    Attributes:
        provider: "CUDAExecutionProvider".
        reason: why it does not work, in one line; empty if it does.
        absent: library that is missing, e.g. "libcudnn.so.9"; empty if that is not the reason.
        needs: what onnxruntime says that it wants, e.g. "cuDNN 9.* and CUDA 13.*"; empty if it does not say.
        full_bytes: whether products of 8 full bits are exact; of the CPU alone.
    """

    provider: str
    reason: str = ""
    absent: str = ""
    needs: str = ""
    full_bytes: bool | None = None

    @property
    def name(self) -> str:
        """As --provider calls it."""
        return self.provider.removesuffix("ExecutionProvider").lower()


@dataclass(frozen=True)
class Providers:
    """onnxruntime, as a process of its own saw it.

    Attributes:
        version: onnxruntime's; empty if it does not load.
        reason: why it does not load.
        proofs: of each provider that is compiled in.
    """

    version: str = ""
    reason: str = ""
    proofs: tuple[Proof, ...] = ()

    @classmethod
    def of(cls, host: Host) -> Providers:
        """Load onnxruntime, and try each of its providers."""
        answer = ask(host, "onnxruntime", PATIENCE)
        value = given(answer)
        if not isinstance(value.get("version"), str) or not isinstance(value.get("providers"), list):
            return cls(reason=reason(answer))
        names = [name for name in map(str, value["providers"]) if name not in NOT_TRIED]
        return cls(version=value["version"], proofs=tuple(_prove(host, name) for name in names))

    def works(self, provider: str) -> bool:
        """Whether a provider has computed what it should."""
        return any(proof.provider == provider and not proof.reason for proof in self.proofs)

    def has(self, provider: str) -> bool:
        """Whether a provider is compiled in."""
        return any(proof.provider == provider for proof in self.proofs)


def look(providers: Providers, board: Board, *, gpu: bool, driver: bool, missing: bool) -> list[Finding]:
    """A row for each provider, and one for products of bytes.

    Args:
        providers: what was tried.
        board: this one.
        gpu: whether this machine has a GPU of NVIDIA.
        driver: whether that has a driver that answers.
        missing: whether onnxruntime is not installed, which the packages say already.
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
                "install it anew; an illegal instruction (SIGILL) means a package built for another processor",
            )
        ]
    found = [_provider(proof, providers, board, gpu=gpu, driver=driver) for proof in providers.proofs]
    return [*found, *(_full_bytes(proof.full_bytes) for proof in providers.proofs if proof.full_bytes is not None)]


def _prove(host: Host, provider: str) -> Proof:
    answer = ask(host, provider, TENSORRT_PATIENCE if provider == TENSORRT else PATIENCE)
    value = given(answer)
    if value.get("provider") == provider and value.get("right") is True:
        full = value.get("bytes")
        return Proof(provider, full_bytes=full if isinstance(full, bool) else None)
    library = MISSING.search(answer.err)
    needs = re.search(r"Require (cuDNN \S+ and CUDA [0-9]+[0-9.*]*)\.(?:\s|$)", answer.err)
    return Proof(
        provider,
        reason=reason(answer),
        absent=library.group(1) if library is not None else "",
        needs=needs.group(1) if needs is not None else "",
    )


def _provider(proof: Proof, providers: Providers, board: Board, *, gpu: bool, driver: bool) -> Finding:
    if not proof.reason:
        return Finding(KIND, proof.name, OK, "computes, and the numbers are right")
    if proof.provider == TENSORRT and proof.absent.startswith("libnvinfer"):
        return Finding(
            KIND,
            proof.name,
            NOTE,
            f"compiled in, but TensorRT is not installed: {proof.reason}",
            "nothing where CUDA is fast enough; else install TensorRT, in a version that onnxruntime was built for",
        )
    if proof.provider == TENSORRT and providers.has(CUDA) and not providers.works(CUDA):
        return Finding(KIND, proof.name, NOTE, f"does not run: {proof.reason}", "see cuda first, which it builds on")
    return Finding(
        KIND, proof.name, PROBLEM, f"does not run: {proof.reason}", _remedy(proof, board, gpu=gpu, driver=driver)
    )


def _remedy(proof: Proof, board: Board, *, gpu: bool, driver: bool) -> str:
    if proof.provider == CPU:
        return "install onnxruntime anew"
    if proof.provider not in (CUDA, TENSORRT):
        return "see onnxruntime.ai/docs/execution-providers for what it needs, or take another onnxruntime"
    if board.jetson:
        return (
            "NVIDIA's onnxruntime-gpu wheel for this JetPack, and its CUDA and cuDNN: sudo apt install nvidia-jetpack"
        )
    if not gpu:
        return "there is no NVIDIA GPU: pip uninstall onnxruntime-gpu, then pip install 'spade-edge[cpu]'"
    if not driver or proof.absent.startswith("libcuda.so"):
        return "install NVIDIA's driver; start a container with the GPU (docker run --gpus all)"
    if proof.absent:
        needs = proof.needs or "the CUDA and cuDNN that onnxruntime was built for"
        return f"install {needs}: pip install 'onnxruntime-gpu[cuda,cudnn]', or NVIDIA's own packages and ldconfig"
    return "see that the driver is new enough (nvidia-smi), and onnxruntime built for this GPU and its CUDA"


def _full_bytes(exact: bool) -> Finding:
    name = "full bytes"
    if exact:
        return Finding(KIND, name, OK, "products of 8 full bits are exact on the CPU, so int8 models compute as meant")
    return Finding(
        KIND,
        name,
        NOTE,
        "products of 8 full bits saturate on this CPU: int8 models with weights of 8 bits can be wrong",
        "nothing where 'spade-edge export --target cpu' made the model, with 7 bits; 'spade-edge parity' tells",
    )


def ask(host: Host, what: str, patience: float) -> Answer:
    """Run `prove` in a process of its own."""
    # It shall find the packages that this process finds, and none in the folder where the user happens to stand.
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "spade_edge.tools.doctor.prove", what]
    return host.run(command, timeout=patience, environment=environment)


def given(answer: Answer) -> dict[str, Any]:
    """The JSON object that it printed; empty if it printed none."""
    try:
        value = json.loads(answer.out) if answer.code == 0 else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def reason(answer: Answer) -> str:
    """Why something does not work, in one line, from what the process left behind; never empty."""
    return _said(answer) or "it does not say why"


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
    value = given(answer)
    error = value.get("error", "")
    if isinstance(error, str) and error and "default CPU EP" not in error:
        return _short(error)
    fallen = re.search(r"EP Error (.+) when using ", answer.err)  # onnxruntime 1.17 falls back, and prints why
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
    """Without what onnxruntime says of its own source code, and of a length that can be read."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"/\S+\.(?:cc|cu|h):[0-9]+ (?:\S+ )?[\w:<>~]+\([^)]*\)(?: \[with[^]]*\])?", "", text)
    text = re.sub(r"\[ONNXRuntimeError\] : [0-9]+ : [A-Z_]+ : ", "", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= 200 else f"{text[:197]}..."
