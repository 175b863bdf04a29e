"""The compiled kernels, written in a small language of SIMD vectors."""
