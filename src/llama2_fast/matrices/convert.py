"""Write a model again in another format, as llama2_ref.formats.convert, many rows at a time."""

from llama2_ref.formats.convert import Parts, convert_with
from llama2_ref.formats.llama2c import FilePath, Progress

from ..model import read_model
from ..quantize import float_parts
from .llama2c import write_checkpoint

_PARTS = Parts("llama2_fast.matrices.huggingface", read_model, write_checkpoint, float_parts)


def convert(
    model: FilePath,
    output: FilePath,
    to: str | None = None,
    kind: str | None = None,
    version: int | None = None,
    tokenizer: FilePath | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write `model` to `output` in another format. As llama2_ref.formats.convert.convert, byte for byte."""
    return convert_with(_PARTS, model, output, to, kind, version, tokenizer, progress)
