"""From kernels to machine code that is kept on disk. numba is imported only to compile."""
