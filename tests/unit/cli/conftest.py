"""Models for the command line, and the call of it that the tests share."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from llama2_ref.cli.main import main
from support.command_line import CONFIG
from support.commands import write_scripted
from support.models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model."""
    return write_model(tmp_path_factory.mktemp("random"), CONFIG)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says "ab" a million times."""
    return write_scripted(tmp_path_factory.mktemp("endless"), [b"a", b"b"], loop=True, seq_len=2_000_000)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str]]:
    """Run the command line in this process: standard output and error of a call that must succeed."""

    def ask(llama2: ModuleType, *argv: str | Path, stdin: bytes = b"") -> tuple[str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(llama2, [str(word) for word in argv])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out, captured.err

    return ask
