"""Proved error bounds of float32 implementations: what the tests, and the verb `verify`, judge by.

`bounded` runs the reference's own loops on numbers that carry their error; `closed` has the same bounds as formulas
over arrays, for larger sizes; `compare` finds the worst place of a result; `taps` holds every buffer of a model to the
bound of its own step.
"""
