"""The compiled engine: SIMD kernels written in Python, one team of threads for the whole forward pass.

`vectors` is the language that kernels are written in; `elementary`, `products`, `layers` and `step` are compiled from
it, by `build` through `jit`; `fields` is what compiled code and Python agree on. `library` keeps the machine code,
`team` runs it, `packing` lays out matrices for it, and `transformer` puts it all together. numba is imported only to
compile.
"""

EXP_ULPS = 1.05  # the error of exp in `elementary` (measured: 1.042), as tests/fuzz/test_simd.py measures it over every float32 number
