"""Files: opened if they are regular ones, and written whole or not at all."""

import contextlib
import mmap
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from ..errors import CheckpointError, Llama2Error

FilePath = str | os.PathLike[str]


@contextlib.contextmanager
def open_regular(path: FilePath, what: str, error: type[Llama2Error] = CheckpointError) -> Iterator[BinaryIO]:
    """A regular file, open for reading. `what` is in messages, as "a checkpoint".

    What is raised in the block as `error`, OSError or ValueError comes out as `error`, with the path in front.

    Raises `error` if the file is missing, can't be read, or is something else: a folder, or a pipe that would block.
    """
    try:
        if is_special(path):
            raise error("is not a regular file")
        with open(path, "rb") as file:
            yield file
    except error as refused:
        raise error(f"{path}: {refused}") from None
    except (OSError, ValueError) as failed:  # ValueError: a NUL in the path, or a file that shrank meanwhile
        reason = failed.strerror if isinstance(failed, OSError) else failed
        raise error(f"{path}: {what} must be a readable file ({reason})") from None


def map_regular(path: FilePath, what: str) -> memoryview:
    """The bytes of a regular file as a memory map, which lives as long as a view of it. Raises as `open_regular`."""
    with open_regular(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b"")


def is_special(path: FilePath) -> bool:
    """Is there something else than a regular file: a folder, a device, a pipe that would block whoever opens it?"""
    return Path(path).exists() and not Path(path).is_file()


def is_file(path: Path) -> bool:
    """Is there a file that can be looked at? False for a name that is too long, say."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: FilePath) -> bool:
    """Is there a folder that can be looked at? An empty path, which would be the current one, is none."""
    try:
        return bool(os.fspath(path)) and Path(path).is_dir()
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return False


def write_whole(path: FilePath, chunks: Iterable[bytes]) -> None:
    """Write the chunks beside `path`, then rename: a reader never sees half a file, and a failure leaves the old one.

    The bytes are on the disk before the rename. A file that is replaced hands on its permissions.

    Raises CheckpointError if the file can't be written (no such folder, not permitted, disk full), or if `path` is
    something else than a regular file: renaming onto a device would replace it.
    """
    try:
        target = Path(os.path.realpath(path))
        if is_special(target):
            raise CheckpointError(f"{path}: is not a regular file")
        beside = target.with_name(f".{token_hex(8)}.part")
        try:
            with open(beside, "xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, beside)
            beside.replace(target)
        finally:  # after the rename there is nothing to remove; after an error or Ctrl-C there is
            beside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path}: can't be written ({reason})") from None


@contextlib.contextmanager
def whole_folder(path: FilePath) -> Iterator[Path]:
    """A folder beside `path` to be filled, then renamed: it is there whole, or not at all.

    Raises CheckpointError if there is a file, or a folder that is not empty, or if it can't be written.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise CheckpointError(f"{path}: must be a new or an empty folder (there is something): name another one")
        beside = target.with_name(f".{token_hex(8)}.part")
        try:
            beside.mkdir()
            yield beside
            if target.exists():
                target.rmdir()
            beside.rename(target)
        finally:  # after the rename there is nothing to remove; after an error or Ctrl-C there is
            shutil.rmtree(beside, ignore_errors=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path}: can't be written ({reason})") from None
