"""Files of another program's logits and tokens, read for the judge, and our own logits beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.errors import Llama2Error, PromptError
from llama2_ref.support.files import is_file

from ..conformance.buffers import Tell
from ..conformance.logits import Findings, judge_logits
from ..transformer import Transformer
from ..weights import Weights

Array = NDArray[Any]

MAGIC = b"\x93NUMPY"  # what a .npy file begins with


class LogitsError(Llama2Error):
    """A file of logits, or of token ids, can't be used."""


# ---------------------------------------------------------------------------------------------------------------- files


def read_logits(path: str, vocab_size: int) -> Array:
    """Logits as they lie in a .npy file: (T, V), of one token after the other, or (V,), as (1, V).

    Axes of length 1 in front are left out. Nothing but numbers is read: a pickle is refused, and the file is mapped, so
    that a header that lies allocates nothing. Raises LogitsError.
    """
    array = _map_npy(path)
    shape = array.shape
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[None]
    if array.dtype.kind != "f":
        raise LogitsError(f"{path}: logits must be floating-point numbers (got {array.dtype})")
    if array.ndim != 2 or array.shape[1] != vocab_size:
        rule = f"logits must be rows of {vocab_size} numbers, one for each token of the vocabulary"
        raise LogitsError(f"{path}: {rule} (got shape {shape})")
    return array


def read_tokens(path: str) -> list[int]:
    """Token ids: integers of a .npy file, or of a text, with anything between them that is no digit.

    Raises LogitsError.
    """
    if not is_file(Path(path)):
        raise LogitsError(f"{path}: must be a file of token ids (there is none)")
    try:
        with open(path, "rb") as file:
            start = file.read(len(MAGIC))
            text = None if start == MAGIC else (start + file.read()).decode("ascii")
    except OSError as error:
        raise LogitsError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise LogitsError(
            f"{path}: token ids must be a .npy file, or numbers in plain text (this is neither)"
        ) from None
    if text is None:
        array = _map_npy(path)
        if array.dtype.kind not in "iu":
            raise LogitsError(f"{path}: token ids must be integers (got {array.dtype})")
        return [int(token) for token in array.reshape(-1)]
    words = text.replace(",", " ").replace("[", " ").replace("]", " ").split()
    for word in words:
        if not word.removeprefix("-").isdigit() or len(word) > 18:
            raise LogitsError(f"{path}: token ids must be whole numbers (got {word[:20]!r})")
    return [int(word) for word in words]


def _map_npy(path: str) -> Array:
    rule = "must be a .npy file of one array of plain numbers, as numpy.save writes it"
    if not is_file(Path(path)):
        raise LogitsError(f"{path}: {rule} (there is none)")
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise LogitsError(f"{path}: {rule} (this is another file)")
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except LogitsError:
        raise
    except OSError as error:
        raise LogitsError(f"{path}: can't be read ({error.strerror or error})") from None
    except Exception:  # what numpy raises of a damaged header is not told anywhere
        raise LogitsError(f"{path}: {rule} (this one is damaged, or holds something else)") from None
    return array


# -------------------------------------------------------------------------------------------------------------- compare


def check_rows(path: str, logits: Array, tokens: Sequence[int], tokens_are: str) -> int:
    """Raise unless there is a row for each token, or one alone, of the last. Returns how many rows are too many."""
    if len(logits) == 1 or len(logits) >= len(tokens):
        return max(0, len(logits) - len(tokens))
    rule = f"there must be a row for each of the {len(tokens)} tokens {tokens_are}, or one, for the last"
    raise PromptError(f"{path}: {rule} (got {len(logits)} rows): --tokens FILE names the ids that the logits belong to")


def compare_logits(
    transformer: Transformer, weights: Weights, tokens: Sequence[int], logits: Array, tell: Tell
) -> Findings:
    """Rows of another program's logits beside the right ones, and beside those of an engine: see `judge_logits`.

    `weights` are those that the engine computes with. Raises NumericsError if the model's own logits are not finite.
    """
    every = len(logits) != 1
    ours = np.atleast_2d(transformer.forward(tokens, transformer.new_cache(), every=every))
    return judge_logits(transformer.config, weights, tokens, logits, ours, tell)
