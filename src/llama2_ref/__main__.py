"""The command line: python -m llama2_ref."""

import sys

try:
    import llama2_ref

    from .cli.main import main

    code = main(llama2_ref)
except KeyboardInterrupt:  # before main could take care of it
    code = 130
sys.exit(code)
