"""The command line: python -m llama2_fast."""

import sys

try:
    import llama2_fast
    from llama2_ref.cli.main import main

    code = main(llama2_fast)
except KeyboardInterrupt:  # before main could take care of it
    code = 130
sys.exit(code)
