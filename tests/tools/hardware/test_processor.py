"""Classes of processors, from what /proc/cpuinfo says on several machines (shortened)."""

from __future__ import annotations

from pathlib import Path

import pytest
from machines import Commands, cores, host

from spade_edge.tools.hardware.processor import Processor

TIGER_LAKE = "fpu sse2 ssse3 sse4_1 sse4_2 avx f16c fma avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni"
SAPPHIRE_RAPIDS = f"{TIGER_LAKE} hypervisor avx_vnni avx512_bf16 amx_tile amx_int8"
ALDER_LAKE = "fpu sse2 ssse3 sse4_1 sse4_2 avx f16c fma avx2 avx_vnni gfni vaes"
SKYLAKE_X = "fpu sse2 ssse3 sse4_1 sse4_2 avx f16c fma avx2 avx512f avx512dq avx512cd avx512bw avx512vl"
ZEN_3 = "fpu sse2 ssse3 sse4_1 sse4_2 avx f16c fma avx2 hypervisor"
SANDY_BRIDGE = "fpu sse2 ssse3 sse4_1 sse4_2 avx aes"
APOLLO_LAKE = "fpu sse2 ssse3 sse4_1 sse4_2 aes sha_ni"
CORE_2 = "fpu sse2 ssse3"
ORIN = "fp asimd evtstrm aes crc32 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp uscat ilrcpc flagm"
GRAVITON_3 = "fp asimd evtstrm aes crc32 atomics fphp asimdhp asimddp sve svei8mm i8mm bf16"
PI_4 = "fp asimd evtstrm crc32 cpuid"
PI_5_32_BIT = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32"


def x86(model: str, flags: str, count: int = 2) -> str:
    one = "processor\t: {}\nvendor_id\t: GenuineIntel\nmodel name\t: {}\ncpu MHz\t\t: 1000.0\nflags\t\t: {}\n\n"
    return "".join(one.format(i, model, flags) for i in range(count))


@pytest.mark.parametrize(
    ("described", "model", "kind"),
    [
        (x86("11th Gen Intel(R) Core(TM) i5", TIGER_LAKE), "11th Gen Intel(R) Core(TM) i5", "AVX-512 VNNI"),
        (x86("Intel(R) Xeon(R) Processor", SAPPHIRE_RAPIDS), "Intel(R) Xeon(R) Processor", "AVX-512 VNNI"),
        (x86("12th Gen Intel(R) Core(TM) i7", ALDER_LAKE), "12th Gen Intel(R) Core(TM) i7", "AVX-VNNI"),
        (x86("Intel(R) Core(TM) i9-7900X", SKYLAKE_X), "Intel(R) Core(TM) i9-7900X", "AVX-512 without VNNI"),
        (x86("AMD EPYC", ZEN_3), "AMD EPYC", "AVX2 without VNNI"),
        (x86("Intel(R) Core(TM) i5-2400", SANDY_BRIDGE), "Intel(R) Core(TM) i5-2400", "AVX without AVX2"),
        (x86("Intel(R) Atom(TM) x5-E3930", APOLLO_LAKE), "Intel(R) Atom(TM) x5-E3930", "SSE only"),
        (x86("Intel(R) Core(TM)2 Duo", CORE_2), "Intel(R) Core(TM)2 Duo", "SSE only"),
        (cores(6, ORIN, "0x41", "0xd42"), "6 x Cortex-A78AE", "ARM with dot products"),
        (cores(2, GRAVITON_3, "0x41", "0xd40"), "2 x Neoverse-V1", "ARM with dot products and i8mm"),
        (cores(4, PI_4, "0x41", "0xd08"), "4 x Cortex-A72", "ARM without dot products"),
        (cores(4, PI_5_32_BIT, "0x41", "0xd0b"), "4 x Cortex-A76", "ARM without dot products"),
        # What only the large cores have cannot be used.
        (
            cores(2, ORIN, "0x41", "0xd0b") + cores(4, PI_4, "0x41", "0xd05"),
            "2 x Cortex-A76, 4 x Cortex-A55",
            "ARM without dot products",
        ),
        (x86("Intel", ALDER_LAKE, 1) + x86("Intel", SANDY_BRIDGE, 1), "Intel", "AVX without AVX2"),
        ("processor\t: 0\nhart\t: 1\nisa\t: rv64imafdcv\n", "", None),  # RISC-V
        ("", "", None),  # not Linux
    ],
)
def test_the_class_of_a_processor(described: str, model: str, kind: str | None, tmp_path: Path) -> None:
    processor = Processor.of(host(tmp_path, {"proc/cpuinfo": described}, Commands({}, {})))
    assert (processor.model, processor.kind) == (model, kind)
    assert processor.virtual == ("hypervisor" in described)
