"""The command line: python -m llama2_fast, and the script `llama2`."""

import sys


def main(prog: str = "llama2") -> int:
    """Run it, and return the exit code. `prog` is how it was called; the script calls this function."""
    try:
        import llama2_fast
        from llama2_ref.cli.main import main as run

        return run(llama2_fast, prog=prog)
    except KeyboardInterrupt:  # before `run` could take care of it
        return 130


if __name__ == "__main__":
    sys.exit(main("python -m llama2_fast"))
