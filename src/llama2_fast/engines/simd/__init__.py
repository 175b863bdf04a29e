"""The compiled engine: SIMD kernels written in Python, one team of threads for the whole forward pass.

`engine` is the Transformer: `packing` lays out its matrices, `job` describes a pass, `thread_team` runs it, `kv_cache`
keeps keys and values. `tables` and `packed_layout` are what compiled code and Python agree on. `compiler` turns
`kernels` into machine code, and keeps it on the disk: numba is imported only to compile.
"""

EXP_ULPS = 1.05  # exp in `elementary` errs by no more: tests/fuzz/test_simd.py finds 1.042 among all float32 numbers
