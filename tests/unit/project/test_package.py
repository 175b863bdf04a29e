"""The installed thing: a wheel that holds all it needs, with a README whose examples run."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"llama2_ref", "llama2_fast"}
    for package in ("llama2_ref", "llama2_fast"):
        assert {f"{package}/__main__.py", f"{package}/py.typed"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_the_reference_is_imported_from_the_wheel_without_numpy(wheel, tmp_path):
    """In a Python that has nothing but the wheel: no site packages, another folder."""
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    code = "import llama2_ref, sys; assert 'numpy' not in sys.modules; print(llama2_ref.__file__)"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert str(wheel) in done.stdout


def test_the_readme_s_examples_run(llama2, data, tmp_path):
    """As they are printed, one behind the other, for either import."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for name in ("stories260K.bin", "tok512.bin"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    script = "\n".join(blocks).replace("import llama2_fast as llama2", f"import {llama2.__name__} as llama2")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Once upon a time")
    assert done.stdout.count("\nOne day") == 5
