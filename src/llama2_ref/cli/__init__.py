"""The command line of both packages: `main` finds a verb's module by its name, and runs it.

A verb is a module of four names: HELP (a line), EXAMPLES (lines for the help, with {prog}), add_arguments(parser,
llama2), and run(llama2, args), which returns an exit code, or None for 0. `llama2` is the package that runs.
"""

# Verb -> its module, in the order of the help. A package that has more of them lists them in its own `tools`.
VERBS = {
    "generate": "llama2_ref.cli.generate",
    "chat": "llama2_ref.cli.chat",
    "info": "llama2_ref.cli.info",
    "tokenize": "llama2_ref.cli.tokenize",
    "quantize": "llama2_ref.cli.quantize",
    "convert": "llama2_ref.cli.convert",
    "perplexity": "llama2_ref.cli.perplexity",
}
