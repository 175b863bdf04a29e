"""As llama2_ref.cli: one command line serves both packages."""

from llama2_ref.cli import main

__all__ = ["main"]
