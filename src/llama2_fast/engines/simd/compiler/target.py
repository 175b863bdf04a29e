"""The processor that kernels are compiled for: this one, or the one that numba's settings name.

NUMBA_CPU_NAME and NUMBA_CPU_FEATURES are numba's own environment variables. With them, code for a lesser processor is
made and run on a better one, which is how the tests compare bits between instruction sets.
"""

import os
from functools import cache

import llvmlite.binding as llvm


@cache
def processor() -> tuple[str, str]:
    """Name and features, as LLVM spells them: ("znver3", "+avx2,+fma,-avx512f,...")."""
    host = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    name = os.environ.get("NUMBA_CPU_NAME", host[0])
    if name in ("", "host"):
        name = host[0]
    return name, os.environ.get("NUMBA_CPU_FEATURES", host[1] if name == host[0] else "")


def has(*features: str) -> bool:
    """Does the processor have all of these?"""
    return all(f"+{feature}" in processor()[1].split(",") for feature in features)
