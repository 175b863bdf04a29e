"""What one night of fuzzing finds, the next one begins with: in continuous integration, too."""

import os
import subprocess
import sys
from pathlib import Path

from support.commands import WRONG_ADD

ROOT = Path(__file__).parents[2]


def night(folder: Path, profile: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "LLAMA2"))}
    environment |= {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "HYPOTHESIS_PROFILE": profile}
    environment |= {"HYPOTHESIS_STORAGE_DIRECTORY": str(folder), "LLAMA2_FUZZ_EXAMPLES": "1000", "CI": "true"}
    words = ["tests/fuzz/test_kernels.py", "--impl", "wrong", "-k", "test_add", "-n", "0", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_failure_is_kept_for_the_next_night(tmp_path: Path) -> None:
    """Where $CI is set, hypothesis by itself would keep nothing, and try the same inputs every night."""
    (tmp_path / "wrong.py").write_text(WRONG_ADD)
    assert night(tmp_path, "regress").returncode == 0, "nothing is known yet"
    assert night(tmp_path, "nightly").returncode == 1
    replayed = night(tmp_path, "regress")
    assert replayed.returncode == 1, replayed.stdout
    assert "AssertionError: add[" in replayed.stdout
