"""Models by name, fetched from a server that speaks just enough of the hub's protocol."""

import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support import commands
from support.commands import run
from support.ready_code import put_code

HUB = "/karpathy/tinyllamas/resolve/main/"
LLAMA2_C = "/tokenizer.bin"


class Hub(ThreadingHTTPServer):
    """Files by their path, and the requests that came for them."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.asked = {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self):
        self.answer(whole=False)

    def do_GET(self):
        self.answer(whole=True)

    def answer(self, whole):
        self.server.asked.append(self.path)
        data = self.server.files.get(self.path)
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.send_header("X-Repo-Commit", "0" * 40)
        if data is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.end_headers()
        if whole and data:
            self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def env(hub, tmp_path):
    """An environment whose hub and caches are this test's own."""
    proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "LLAMA2_CACHE": str(tmp_path / "cache")}
    put_code(tmp_path / "cache")
    return commands.ENV | proxies | own | {"LLAMA2_TOKENIZER_URL": hub.url + LLAMA2_C}


def test_a_model_is_fetched_once(llama2, data, hub, env):
    hub.files[HUB + "stories260K/stories260K.bin"] = (data / "stories260K.bin").read_bytes()
    hub.files[HUB + "stories260K/tok512.bin"] = (data / "tok512.bin").read_bytes()
    argv = "--model", "stories260K", "-t", "0", "-n", "20"
    done = run(llama2, *argv, env=env)
    assert done.returncode == 0, done.stderr
    assert (data / "stories260K.greedy-200.txt").read_bytes().startswith(done.stdout.rstrip(b"\n"))
    hub.files.clear()
    hub.asked.clear()
    again = run(llama2, *argv, env=env | {"HF_HUB_OFFLINE": "1"})
    assert (again.returncode, again.stdout, hub.asked) == (0, done.stdout, [])


def test_llama2_c_s_tokenizer_is_fetched_and_kept(llama2, data, hub, env, tmp_path):
    """It comes first: without it nothing of the large checkpoint is fetched."""
    hub.files[LLAMA2_C] = (data / "tokenizer.bin").read_bytes()
    done = run(llama2, "--model", "stories42M", env=env)
    assert done.returncode == 2
    assert b"stories42M.bin can't be fetched" in done.stderr
    assert (tmp_path / "cache" / "tokenizer.bin").read_bytes() == hub.files[LLAMA2_C]


def fails(llama2, env, *argv):
    """One clear line, and exit code 2."""
    done = run(llama2, *argv, env=env)
    assert done.returncode == 2
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_another_file_than_expected_is_refused(llama2, hub, env):
    hub.files[HUB + "stories260K/tok512.bin"] = b"something else"
    line = fails(llama2, env, "--model", "stories260K")
    assert "tok512.bin must have the SHA-256 037cb335" in line
    assert "delete" in line


def test_a_file_that_is_not_there(llama2, env):
    line = fails(llama2, env, "--model", "stories260K")
    assert "karpathy/tinyllamas/stories260K/tok512.bin can't be fetched" in line


def test_without_network(llama2, env):
    offline = env | {"HF_HUB_OFFLINE": "1", "LLAMA2_TOKENIZER_URL": "http://127.0.0.1:1/"}
    assert "check the network" in fails(llama2, offline, "--model", "stories260K")
    assert "check the network" in fails(llama2, offline, "--model", "stories15M")


def test_without_the_extra(llama2, env, tmp_path):
    """A module of that name that can't be imported stands for one that is not installed."""
    (tmp_path / "huggingface_hub.py").write_text("raise ImportError('not here')")
    line = fails(llama2, env | {"PYTHONPATH": str(tmp_path)}, "--model", "stories260K")
    assert "pip install 'llama2-twins[hub]'" in line


def test_a_name_that_is_none(llama2, env):
    assert "model must be one of tiny, stories260K, stories15M" in fails(llama2, env, "--model", "stories7B")
    assert "only one model can be used" in fails(llama2, env, "model.bin", "--model", "tiny")


def test_the_library_finds_models_too(llama2):
    checkpoint, tokenizer = llama2.find_model("tiny")
    assert checkpoint.name == "tiny.bin"
    assert tokenizer is None
    with pytest.raises(llama2.DownloadError, match="must be one of"):
        llama2.find_model("huge")


def test_nothing_is_imported_that_is_not_needed(llama2, env):
    """Not even where it is installed: a story starts at once."""
    names = ("huggingface_hub", "gguf", "jinja2", "sentencepiece", "tokenizers", "torch", "transformers")
    code = f"import sys, {llama2.__name__} as m; m.find_model('tiny'); m.load(); print({{*{names}}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
