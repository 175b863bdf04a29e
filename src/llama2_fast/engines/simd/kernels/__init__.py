"""The compiled kernels, written in a small language of SIMD vectors.

`vectors` and `byte_dots` are the language, made of `instructions`; `records` reads the tables of a pass, and `operands`
names what kernels hand to each other. Of these are made `elementary` (exp, cos, sin), `rows` (norm, rope, gate,
quantizing), `attention`, `float_products` and `int_products`, of these `step`, one pass of the model, and of that
`entries`, which the library exports.
"""
