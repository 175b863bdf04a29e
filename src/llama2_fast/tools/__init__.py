"""The verbs that measure and verify, each a module as llama2_ref.cli says."""

# Verb -> its module, behind those of llama2_ref.cli.
VERBS = {"verify": "llama2_fast.tools.verify", "bench": "llama2_fast.tools.bench"}
