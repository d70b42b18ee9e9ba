"""The processor: its model, the instructions that all of its cores have, and how fast these multiply 8-bit numbers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from spade_edge.tools.hardware.host import Host

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
ARM_FLAGS = ("neon", "asimd")
I8MM, DOTS, NO_DOTS = "ARM with dot products and i8mm", "ARM with dot products", "ARM without dot products"
AVX512_VNNI, AVX_VNNI = "AVX-512 VNNI", "AVX-VNNI"
AVX512, AVX2, AVX, SSE = "AVX-512 without VNNI", "AVX2 without VNNI", "AVX without AVX2", "SSE only"
# The first flag that all cores have decides.
ARM_CLASSES = (("i8mm", I8MM), ("asimddp", DOTS), ("asimd", NO_DOTS), ("neon", NO_DOTS))
X86_CLASSES = (
    ("avx512_vnni", AVX512_VNNI),
    ("avx_vnni", AVX_VNNI),
    ("avx512f", AVX512),
    ("avx2", AVX2),
    ("avx", AVX),
    ("sse2", SSE),
    ("sse4_2", SSE),
)


@dataclass(frozen=True)
class Processor:
    """A processor, as /proc/cpuinfo describes it.

    Attributes:
        model: the maker's name for it, or of an Arm the number and names of its cores; empty if unknown.
        flags: instructions that all cores have; empty if unknown.
    """

    model: str
    flags: frozenset[str]

    @classmethod
    def of(cls, host: Host) -> Processor:
        """Read /proc/cpuinfo, which only Linux has."""
        described = host.text("proc/cpuinfo") or ""
        return cls(_model(described), _flags(described))

    @property
    def virtual(self) -> bool:
        """Whether it is that of a virtual machine, as an x86 says."""
        return "hypervisor" in self.flags

    @property
    def arm(self) -> bool:
        return not self.flags.isdisjoint(ARM_FLAGS)

    @property
    def kind(self) -> str | None:
        """The class of processor, by the instructions that decide how fast 8-bit numbers are multiplied.

        Frames take another multiple of the bare network's time in each class. None if the instructions are unknown.
        """
        for flag, kind in ARM_CLASSES if self.arm else X86_CLASSES:
            if flag in self.flags:
                return kind
        return None


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
