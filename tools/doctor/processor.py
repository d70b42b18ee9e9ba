"""The processor: usable cores, instruction sets, and variables that change the number of threads."""

from __future__ import annotations

import re
from collections import Counter

from spade_edge.tools.doctor import cgroup
from spade_edge.tools.doctor.board import Board
from spade_edge.tools.doctor.finding import NOTE, OK, Finding, unknown
from spade_edge.tools.doctor.host import Host

KIND = "processor"

# (implementer, part) of /proc/cpuinfo, as documented by Arm, NVIDIA and Qualcomm.
ARM_CORES = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd83"): "Neoverse-V3AE",
    ("0x4e", "0x003"): "Denver 2",
    ("0x4e", "0x004"): "Carmel",
}
VARIABLES = re.compile(r"(OMP|GOMP|KMP|OPENBLAS|GOTO|MKL|BLIS|NUMEXPR|VECLIB)_[A-Z_]*")
THREADS = re.compile(r".*(THREAD|PROC_BIND|PLACES|AFFINITY|WAIT_POLICY|BLOCKTIME|SPINCOUNT).*")


def findings(host: Host, board: Board) -> list[Finding]:
    """Model, cores, quota, instructions and variables."""
    described = host.text("proc/cpuinfo") or ""
    flags = _flags(described)
    model = _model(described)
    return [
        Finding(KIND, "model", OK, model + (", in a virtual machine" if "hypervisor" in flags else ""))
        if model
        else unknown(KIND, "model", host.hidden),
        _cores(host, board),
        _quota(host),
        _instructions(host, flags),
        _variables(host),
    ]


def _model(described: str) -> str:
    named = re.search(r"^model name[ \t]*:[ \t]*(\S.*)$", described, re.MULTILINE)
    parts = re.findall(r"^CPU part[ \t]*:[ \t]*(0x[0-9a-f]{1,4})$", described, re.MULTILINE)
    makers = re.findall(r"^CPU implementer[ \t]*:[ \t]*(0x[0-9a-f]{1,4})$", described, re.MULTILINE)
    if not parts or len(parts) != len(makers):
        return named.group(1)[:100] if named is not None else ""
    names = [
        ARM_CORES.get((maker, part), f"Arm core {maker}/{part}") for maker, part in zip(makers, parts, strict=True)
    ]
    return ", ".join(f"{count} x {name}" for name, count in Counter(names).items())


def _flags(described: str) -> frozenset[str]:
    """Features that all cores share."""
    lines = re.findall(r"^(?:flags|Features)[ \t]*:(.*)$", described, re.MULTILINE)
    return frozenset.intersection(*(frozenset(line.split()) for line in lines)) if lines else frozenset()


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


def _instructions(host: Host, flags: frozenset[str]) -> Finding:
    name = "instructions"
    if not flags:
        return unknown(KIND, name, host.hidden)
    if host.machine in ("aarch64", "arm64") or "asimd" in flags or "neon" in flags:
        has = [label for flag, label in _ARM if flag in flags]
        if "asimddp" in flags:
            return Finding(KIND, name, OK, f"{', '.join(has)}: 8-bit products are fast")
        return Finding(
            KIND,
            name,
            NOTE,
            f"{', '.join([*has, 'no dot product (asimddp)'])}: 8-bit products are slow, and so is matching",
            "'spade-edge bench' shows the time of matching; a bundle built with fewer --candidates needs less",
        )
    has = [label for flag, label in _X86 if flag in flags]
    if flags & {"avx512_vnni", "avx_vnni"}:
        return Finding(KIND, name, OK, f"{', '.join(has)}: 8-bit products are fast")
    if "avx2" in flags:
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
