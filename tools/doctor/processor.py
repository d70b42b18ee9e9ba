"""The processor: usable cores, instruction sets, and variables that change the number of threads."""

from __future__ import annotations

import re

from spade_edge.tools.doctor import cgroup
from spade_edge.tools.doctor.finding import NOTE, OK, Finding, unknown
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.host import Host
from spade_edge.tools.hardware.processor import AVX2, AVX512, AVX512_VNNI, AVX_VNNI, DOTS, I8MM, Processor

KIND = "processor"

VARIABLES = re.compile(r"(OMP|GOMP|KMP|OPENBLAS|GOTO|MKL|BLIS|NUMEXPR|VECLIB)_[A-Z_]*")
THREADS = re.compile(r".*(THREAD|PROC_BIND|PLACES|AFFINITY|WAIT_POLICY|BLOCKTIME|SPINCOUNT).*")


def findings(host: Host, board: Board) -> list[Finding]:
    """Model, cores, quota, instructions and variables."""
    found = Processor.of(host)
    return [
        Finding(KIND, "model", OK, found.model + (", in a virtual machine" if found.virtual else ""))
        if found.model
        else unknown(KIND, "model", host.hidden),
        _cores(host, board),
        _quota(host),
        _instructions(host, found),
        _variables(host),
    ]


def _cores(host: Host, board: Board) -> Finding:
    name = "cores"
    present, online = (_count(host.text(f"sys/devices/system/cpu/{which}")) for which in ("present", "online"))
    if present is not None and online is not None and online < present:
        return Finding(
            KIND,
            name,
            NOTE,
            f"{host.cores} usable; {online} of {present} are online",
            "the power mode decides this, see jetson" if board.jetson else "see /sys/devices/system/cpu/cpu*/online",
        )
    if online is not None and host.cores < online:
        return Finding(
            KIND,
            name,
            NOTE,
            f"this process may use {host.cores} of {online}, but onnxruntime creates threads for all",
            f"--threads {host.cores}, or lift the limit: taskset, cpuset of the container, CPUAffinity of the service",
        )
    return Finding(KIND, name, OK, f"{host.cores}, all usable")


def _count(listed: str | None) -> int | None:
    """Number of processors in a list such as "0-3,6"."""
    if listed is None or not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*", listed):
        return None
    ends = [part.split("-") for part in listed.split(",")]
    return sum(int(part[-1]) - int(part[0]) + 1 for part in ends)


def _quota(host: Host) -> Finding:
    name = "quota"
    allowed = cgroup.quota(host)
    if allowed is None:
        if host.system != "Linux":
            return unknown(KIND, name, host.hidden)
        return Finding(KIND, name, OK, "none: no control group limits processor time")
    if allowed < host.cores:
        return Finding(
            KIND,
            name,
            NOTE,
            f"processor time of {allowed:g} of {host.cores} cores; when it is used up, all threads pause",
            f"--threads {max(1, int(allowed))}, or raise the quota (docker --cpus, CPUQuota of the service)",
        )
    return Finding(KIND, name, OK, f"processor time of {allowed:g} cores; {host.cores} are usable")


def _instructions(host: Host, processor: Processor) -> Finding:
    name, flags = "instructions", processor.flags
    if not flags:
        return unknown(KIND, name, host.hidden)
    if host.machine in ("aarch64", "arm64") or processor.arm:
        has = [label for flag, label in _ARM if flag in flags]
        if processor.kind in (I8MM, DOTS):
            return Finding(KIND, name, OK, f"{', '.join(has)}: 8-bit products are fast")
        return Finding(
            KIND,
            name,
            NOTE,
            f"{', '.join([*has, 'no dot product (asimddp)'])}: 8-bit products are slow, and so is matching",
            "'spade-edge bench' shows the time of matching; a bundle built with fewer --candidates needs less",
        )
    has = [label for flag, label in _X86 if flag in flags]
    if processor.kind in (AVX512_VNNI, AVX_VNNI):
        return Finding(KIND, name, OK, f"{', '.join(has)}: 8-bit products are fast")
    if processor.kind in (AVX512, AVX2):
        return Finding(
            KIND,
            name,
            NOTE,
            f"{', '.join(has)}, no VNNI: 8-bit products are slower, and with full 8-bit weights they can saturate",
            "nothing for fp32 models, whose gallery codes have 7 bits; for int8 models see 'full bytes' below",
        )
    return Finding(
        KIND,
        name,
        NOTE,
        f"{', '.join([*has, 'no AVX2'])}: the fast kernels of onnxruntime need AVX2 and FMA",
        "use a smaller backbone or view, or a processor with AVX2",
    )


_X86 = (
    ("sse4_2", "SSE4.2"),
    ("avx", "AVX"),
    ("avx2", "AVX2"),
    ("avx512f", "AVX-512"),
    ("avx512_vnni", "AVX-512 VNNI"),
    ("avx_vnni", "AVX-VNNI"),
)
_ARM = (
    ("neon", "NEON"),
    ("asimd", "NEON"),
    ("asimdhp", "fp16 (asimdhp)"),
    ("asimddp", "dot product (asimddp)"),
    ("i8mm", "i8mm"),
    ("sve", "SVE"),
)


def _variables(host: Host) -> Finding:
    name = "thread variables"
    found = sorted(
        f"{variable}={value[:40]}"
        for variable, value in host.environment.items()
        if VARIABLES.fullmatch(variable) and THREADS.fullmatch(variable)
    )
    if found:
        return Finding(
            KIND,
            name,
            NOTE,
            f"{', '.join(found)}: onnxruntime, which computes the frames, does not read them",
            "use --threads N to limit threads",
        )
    return Finding(KIND, name, OK, "none set")
