"""What decides right and wrong: it imports the reference and numpy, and never an engine that it judges.

Bounds: `llama2_ref.bounded` runs the reference's own loops on numbers that carry their error; `closed` has the same
bounds as formulas over arrays, for larger sizes; `compare` finds the worst place of a result; `taps` holds every buffer
of a model to the bound of its own step; `topp` says which tokens a sampler may return; `judge` has all of these as
assertions.

Inputs: `strategies` draws them, `random_models` makes small models, `adversarial` has those on which errors add up.

Implementations under test: `implementation` loads them, `plugin` is what pytest is told of them, `reproduce` writes a
failure as a script.
"""
