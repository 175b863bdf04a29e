"""What `bench` measures: a model in a file, or random weights of a size, and the files that other programs need."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from llama2_ref.cli.output import say, say_progress
from llama2_ref.config import Config
from llama2_ref.errors import CheckpointError, Llama2Error
from llama2_ref.formats.llama2c_header import Header, default_group_size
from llama2_ref.support.files import FilePath, write_whole

from ..matrices.files import write_checkpoint
from ..model import read_model
from .bench_peers import Peer
from .random_models import SHAPES, random_vocabulary, shape_header, write_random
from .stored_weights import MatrixInfo, dtype_names, float32_matrices, quantized, stored_matrices

LARGEST_FILE = 2**31  # bytes of float32 weights that are written only to be quantized; larger ones are made in memory


class BenchError(Llama2Error):
    """Something can't be measured."""


@dataclass
class BenchModel:
    """A model in a file, or a shape, of which the files are there that are needed."""

    name: str
    config: Config
    matrices: list[MatrixInfo]  # that a token is multiplied by, as they are stored
    shape: str | None = None
    is_int8_checkpoint: bool = False  # one of llama2.c's version 2, which stands for {int8} as it is
    find_tokenizer: Callable[[], Path] | None = None  # the tokenizer.bin beside a checkpoint of llama2.c
    files: dict[str, Path] = field(default_factory=dict)  # what stands for {model}, {int8} and {tokenizer}

    @property
    def has_integers(self) -> bool:
        """Are the numbers of its file integers, so that they can't be quantized?"""
        return any(matrix.group_size for matrix in self.matrices)

    @property
    def is_small(self) -> bool:
        """Is a file of float32 weights small enough to be written only to be quantized?"""
        return shape_header(str(self.shape), 0).file_bytes() <= LARGEST_FILE

    def matrices_as(self, quantization: str | None) -> list[MatrixInfo]:
        """The matrices, after `--quantize`."""
        return quantized(self.matrices, quantization) if quantization else self.matrices

    def weights(self, quantization: str | None) -> str:
        """The name of the numbers that are measured."""
        return quantization or dtype_names(self.matrices)

    @property
    def int8_matrices(self) -> list[MatrixInfo]:
        """Those of the file that stands for {int8}, whose groups are of llama2.c's size."""
        if self.is_int8_checkpoint:
            return self.matrices
        group_size = default_group_size(self.config)
        return [m._replace(dtype="int8", group_size=group_size) for m in self.matrices]


def model_of_file(path: FilePath, files: dict[str, Path]) -> BenchModel:
    """A model in a file or folder of any format."""
    file = read_model(path)
    name, matrices = Path(path).absolute().name, stored_matrices(file.weights)
    files = {"model": Path(path).absolute(), **files}
    return BenchModel(name, file.config, matrices, None, file.group_size > 0, file.tokenizer_path, files)


def model_of_shape(name: str, files: dict[str, Path]) -> BenchModel:
    """Random float32 weights of a size."""
    return BenchModel(name, SHAPES[name], float32_matrices(SHAPES[name]), name, files=dict(files))


# ---------------------------------------------------------------------------------------------------------------- files


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for large files, which is gone afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="llama2-bench-", ignore_cleanup_errors=True)
    except OSError as error:
        raise BenchError(f"a temporary folder must be writable ({error.strerror}): set TMPDIR") from None
    with folder as name:
        yield Path(name)


def prepare_files(
    model: BenchModel, quantizations: Sequence[str | None], peers: Sequence[Peer], folder: Path
) -> Sequence[Peer]:
    """Write what is missing of the files. Returns the peers that have all they need: the others are told of."""
    if model.shape is not None and (None in quantizations or model.is_small):
        _write_model(model, folder)
    useful = []
    for peer in peers:
        try:
            _prepare_for(peer, model, folder)
            useful.append(peer)
        except BenchError as error:
            say(f"note: {model.name} is measured without peer {peer.name}: {error}")
    return useful


def _prepare_for(peer: Peer, model: BenchModel, folder: Path) -> None:
    if peer.takes("model") and "model" not in model.files:
        _write_model(model, folder)
    if peer.takes("int8") and "int8" not in model.files:
        model.files["int8"] = model.files["model"] if model.is_int8_checkpoint else _write_int8(model, folder)
    if peer.takes("tokenizer") and "tokenizer" not in model.files:
        model.files["tokenizer"] = _tokenizer_for(model, folder)


def _tokenizer_for(model: BenchModel, folder: Path) -> Path:
    """The tokenizer.bin beside a checkpoint, or a made-up one for a shape."""
    if model.shape is not None:
        path = folder / "tokenizer.bin"
        write_whole(path, [random_vocabulary(model.config.vocab_size)])
        return path
    if model.find_tokenizer is None:
        raise BenchError("a tokenizer.bin lies beside checkpoints of llama2.c only: name one by -z")
    return model.find_tokenizer()


def _write_model(model: BenchModel, folder: Path) -> None:
    header = shape_header(str(model.shape), 0)
    model.files["model"] = _write(folder / "model.bin", header, _random(header))


def _write_int8(model: BenchModel, folder: Path) -> Path:
    """The same model as a file of version 2."""
    path = folder / "int8.bin"
    if model.shape is not None:
        header = shape_header(model.shape, 2)
        return _write(path, header, _random(header))
    config, weights = model.config, read_model(model.files["model"]).weights
    header = Header(2, config, weights.shared_classifier, default_group_size(config))

    def write(path: Path) -> None:
        write_checkpoint(path, config, weights, version=2, progress=say_progress)

    try:
        return _write(path, header, write)
    except CheckpointError as error:  # the format has no such model
        raise BenchError(f"there is no int8 checkpoint of it: {error}") from None


def _random(header: Header) -> Callable[[Path], None]:
    return lambda path: write_random(path, header, say_progress)


def _write(path: Path, header: Header, write: Callable[[Path], None]) -> Path:
    """Write a large file, if there is room for it."""
    free, size = shutil.disk_usage(path.parent).free, header.file_bytes()
    if free < size:
        rule = f"a temporary file in {path.parent.parent} needs {size:,} bytes"
        raise BenchError(f"{rule} (got {free:,}): set TMPDIR to a larger disk, or leave it out")
    write(path)
    return path
