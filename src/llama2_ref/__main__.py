"""The command line: python -m llama2_ref."""

import sys

import llama2_ref
from llama2_ref.cli import main

sys.exit(main(llama2_ref))
