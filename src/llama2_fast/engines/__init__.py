"""What runs a forward pass: numpy, or compiled SIMD code."""
