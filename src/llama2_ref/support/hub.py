"""Models by name: the bundled one, and those that llama2.c's author published, fetched once.

Every file whose SHA-256 is known is checked; those of stories42M and stories110M are not known here.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import NamedTuple

from ..errors import CheckpointError, DownloadError, MissingExtraError
from .files import is_file, write_whole

BUNDLED = Path(__file__).parents[1] / "models" / "tiny.bin"
REPOSITORY = "karpathy/tinyllamas"  # on huggingface.co
TOKENIZER_URL = "https://raw.githubusercontent.com/karpathy/llama2.c/master/tokenizer.bin"


class Download(NamedTuple):
    """A file, and the SHA-256 that its bytes must have, where that is known."""

    path: str
    sha256: str | None = None


TOKENIZER = Download("tokenizer.bin", "50a52ef822ee9e83de5ce9d0be0a025a773d019437f58b5ff9dcafb063ece361")
TOK512 = Download("stories260K/tok512.bin", "037cb335abb25d1fa9e8ecae30ed2a3a8ace9302862ebcdc05d51a6bbb10c312")
MODELS = {
    "stories260K": Download(
        "stories260K/stories260K.bin", "b0a507e7ad0f626624f17112325e66691f9076d622e1d3274d103d00299f2696"
    ),
    "stories15M": Download("stories15M.bin", "cd590644d963867a2b6e5a1107f51fad663c41d79c149fbecbbb1f95fa81f49a"),
    "stories42M": Download("stories42M.bin"),
    "stories110M": Download("stories110M.bin"),
}
NAMES = ("tiny", *MODELS)


def find_model(name: str) -> tuple[Path, Path | None]:
    """Checkpoint and tokenizer of a name: "tiny" is bundled, the others are fetched on first use.

    The tokenizer is None where it lies beside the checkpoint. Fetched files stay in the cache of huggingface_hub (extra
    `hub`), llama2.c's tokenizer.bin in `$LLAMA2_CACHE`, else `~/.cache/llama2-twins`. It comes from GitHub, or from
    `$LLAMA2_TOKENIZER_URL`.

    Raises DownloadError for another name, without network, or if a file is not the expected one, and MissingExtraError
    without huggingface_hub.
    """
    if name == "tiny":
        return BUNDLED, None
    if name not in MODELS:
        raise DownloadError(f"model must be one of {', '.join(NAMES)} (got {name!r})")
    tokenizer = _from_hub(TOK512) if name == "stories260K" else _from_llama2_c(TOKENIZER)
    return _from_hub(MODELS[name]), tokenizer


def _checked(download: Download, path: Path) -> Path:
    """The path of a file, once its bytes are known to be the right ones."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if download.sha256 else None
    except OSError as error:
        raise DownloadError(f"{path}: a fetched file must be readable ({error.strerror})") from None
    if digest != download.sha256:
        raise DownloadError(f"{_rule(download)} (got {digest}): delete {path} and try again")
    return path


def _rule(download: Download) -> str:
    return f"{download.path} must have the SHA-256 {download.sha256}"


def _from_hub(download: Download) -> Path:
    """A file of the repository on the hub: from huggingface_hub's cache, where it is there."""
    try:
        import huggingface_hub
    except ImportError:
        rule = "huggingface_hub must be installed to fetch a model by name"
        raise MissingExtraError(f"{rule}: pip install 'llama2-twins[hub]', or name a checkpoint's path") from None
    # No log lines about retries: DownloadError says what failed.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:  # files never change: one that is there needs no network
        return _checked(
            download, Path(huggingface_hub.hf_hub_download(REPOSITORY, download.path, local_files_only=True))
        )
    except OSError:
        pass
    try:
        return _checked(download, Path(huggingface_hub.hf_hub_download(REPOSITORY, download.path)))
    except OSError as error:  # no network, no such file, disk full
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DownloadError(_cannot(f"{REPOSITORY}/{download.path}", reason)) from None


def _from_llama2_c(download: Download) -> Path:
    """llama2.c's tokenizer, which lies in its source repository and not on the hub."""
    url = os.environ.get("LLAMA2_TOKENIZER_URL") or TOKENIZER_URL
    try:
        cache = Path(os.environ.get("LLAMA2_CACHE") or Path.home() / ".cache" / "llama2-twins")
        target = cache / download.path
        if is_file(target):
            return _checked(download, target)
        data = _read_url(url)
        if hashlib.sha256(data).hexdigest() != download.sha256:
            raise DownloadError(f"{_rule(download)} (got another file from {url})")
        cache.mkdir(parents=True, exist_ok=True)
        write_whole(target, [data])
        return target
    except (OSError, RuntimeError, CheckpointError) as error:  # RuntimeError: there is no home folder
        raise DownloadError(_cannot(url, str(error))) from None


def _read_url(url: str) -> bytes:
    import urllib.request  # here, since it takes a third of the time of all other imports
    from http.client import HTTPException

    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            data: bytes = answer.read()
            return data
    except (ValueError, HTTPException) as error:  # no URL; an answer that is cut off, or is none
        raise OSError(f"{type(error).__name__}: {error}") from None


def _cannot(what: str, reason: str) -> str:
    return f"{what} can't be fetched ({reason}): check the network, or name a checkpoint's path"
