"""What llama2_ref.formats reads and writes, by the arrays of this package: the same names, signatures and bytes."""

from llama2_ref.config import Config
from llama2_ref.formats import convert as reference
from llama2_ref.formats import llama2c, session
from llama2_ref.formats.model_file import Progress, WriteOptions
from llama2_ref.support.files import FilePath

from ..weights import Weights
from .arrays import ARRAYS

__all__ = ["Session", "convert", "read_checkpoint", "write_checkpoint"]


def read_checkpoint(path: FilePath) -> tuple[Config, Weights]:
    """Sizes and weights of a checkpoint, as read-only arrays over the file. As llama2_ref.read_checkpoint."""
    return llama2c.read_with(ARRAYS, path)


def write_checkpoint(
    path: FilePath, config: Config, weights: Weights, version: int = 1, progress: Progress | None = None
) -> None:
    """Write a checkpoint of version 0, 1 or 2. As llama2_ref.write_checkpoint, byte for byte."""
    llama2c.write_with(ARRAYS, path, config, weights, version, progress)


def convert(
    model: FilePath,
    output: FilePath,
    to: str | None = None,
    dtype: str | None = None,
    version: int | None = None,
    tokenizer: FilePath | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write `model` to `output` in another format. As llama2_ref.formats.convert.convert, byte for byte."""
    return reference.convert_with(ARRAYS, model, output, to, WriteOptions(dtype, version, tokenizer), progress)


class Session(session.Session):
    """A file that may hold the cache of an earlier text. As llama2_ref.Session, with float32 numbers."""

    arrays = ARRAYS
