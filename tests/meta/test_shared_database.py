"""Examples that machines share through a Redis server: what one finds, another replays without looking for it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.commands import WRONG_ADD

redis = pytest.importorskip("redis", reason="the redis package is not installed (extra dev)")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a Redis server on loopback that keeps nothing."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("LLAMA2_REQUIRE_DATA"):
            pytest.fail("redis-server must be installed for this run")
        pytest.skip("redis-server is not installed (Debian's package redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            for _ in range(200):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def fuzz(folder: Path, profile: str, database: str | None, impl: str = "wrong") -> subprocess.CompletedProcess[str]:
    """The tests of add, as one machine runs them: with a folder of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "wrong.py").write_text(WRONG_ADD)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "LLAMA2"))}
    environment |= {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "HYPOTHESIS_PROFILE": profile}
    environment |= {"HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "examples"), "LLAMA2_FUZZ_EXAMPLES": "1000"}
    environment |= {"LLAMA2_FUZZ_DB": database} if database else {}
    words = ["tests/fuzz/test_kernels.py", "--impl", impl, "-k", "test_add", "-n", "0", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_one_finds_and_another_replays(server, tmp_path):
    found = fuzz(tmp_path / "one", "nightly", server)
    assert found.returncode == 1, found.stdout
    replayed = fuzz(tmp_path / "two", "regress", server)
    assert replayed.returncode == 1, replayed.stdout
    assert "AssertionError: add[" in replayed.stdout
    right = fuzz(tmp_path / "two", "nightly", server, "llama2_fast.kernels")
    assert right.returncode == 0, right.stdout
    alone = fuzz(tmp_path / "two", "regress", None)
    assert alone.returncode == 0, "without the shared database nothing is known there"


@pytest.mark.parametrize("address", ["redis://127.0.0.1:1", "localhost"])
def test_a_server_that_does_not_answer_is_one_line(tmp_path, address):
    done = fuzz(tmp_path, "nightly", address)
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert "LLAMA2_FUZZ_DB must be the address of a Redis server that answers" in line
