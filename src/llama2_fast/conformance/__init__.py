"""What decides right and wrong: it imports the reference and numpy, and never an engine that it judges.

What draws inputs, and the options for pytest, import hypothesis and pytest, too.

Bounds: `llama2_ref.bounded` runs the reference's own loops on numbers that carry their error; `closed` has the same
bounds as formulas over arrays, for larger sizes; `compare` finds the worst place of a result; `taps` holds every buffer
of a model to the bound of its own step; `judge` has these as assertions.

Verdicts on more than one result: `buffers` says what was found in each buffer of a model, `bits` where two tables of
logits differ, `logits` how far another program is off and whether that explains where it diverges, `topp` which tokens
a sampler may return.

Inputs: `strategies` draws them, `random_models` makes small models, `adversarial` has those on which errors add up.

Implementations under test: `implementation` loads them, `plugin` has the options for pytest, `reproduce` writes a
failure as a script.
"""
