"""The command line: python -m llama2_fast."""

import sys

import llama2_fast
from llama2_fast.cli import main

sys.exit(main(llama2_fast))
