"""The compiled engine: SIMD kernels written in Python, one team of threads for the whole forward pass.

`vectors` is the language that kernels are written in; `elementary`, `products`, `layers` and `step` are compiled from
it, by `build` through `jit`; `fields` is what compiled code and Python agree on. `library` keeps the machine code,
`team` runs it, `packing` lays out matrices for it, and `transformer` puts it all together. numba is imported only to
compile.
"""

EXP_ULPS = 1.05  # exp in `elementary` errs by no more: tests/fuzz/test_simd.py finds 1.042 among all float32 numbers
