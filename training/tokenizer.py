"""Train a byte-fallback BPE tokenizer on a folder of text files, and write it as llama2.c's tokenizer.bin.

    python tokenizer.py CORPUS --out FOLDER

writes FOLDER/tok1024.model, which SentencePiece and train.py read, and FOLDER/tok1024.bin, which llama2_ref,
llama2_fast and llama2.c read. The same text gives the same bytes.
"""

import argparse
import io
import os
import struct
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

try:
    import sentencepiece
except ImportError as error:
    sys.exit(f"training needs {error.name}, which is not installed: pip install 'llama2-twins[train]'")

SEPARATOR = "\n<|end|>\n"  # between the texts of one file
VOCAB_SIZE = 1024  # V: with more, half of this small a model would be its embedding table
TEXTS = 20_000  # of which the tokenizer learns: more would not change the frequent pairs
UNK, BOS, EOS = 0, 1, 2


def main() -> None:
    """Read the command line, train, write both files."""
    parser = argparse.ArgumentParser(description="Train a tokenizer on a folder of text files (*.txt).")
    parser.add_argument("corpus", type=Path, help="folder of *.txt; a line <|end|> separates the texts of a file")
    parser.add_argument("--out", type=Path, required=True, help="folder for tok<vocab size>.model and .bin")
    parser.add_argument("--vocab-size", type=int, default=VOCAB_SIZE, help="number of tokens (default %(default)s)")
    parser.add_argument("--texts", type=int, default=TEXTS, help="learn from the first so many (default %(default)s)")
    args = parser.parse_args()
    texts = islice(read_texts(list_files(args.corpus).others), args.texts)
    model = train_tokenizer((line for text in texts for line in text.splitlines()), args.vocab_size)
    args.out.mkdir(parents=True, exist_ok=True)
    write_whole(args.out / f"tok{args.vocab_size}.model", model)
    write_whole(args.out / f"tok{args.vocab_size}.bin", tokenizer_bin(model))


class Files(NamedTuple):
    """The text files of a corpus, each kind in the order of their names."""

    first: list[Path]  # first*.txt: to be learned before all others
    others: list[Path]
    valid: list[Path]  # valid*.txt: held out


def list_files(folder: Path) -> Files:
    """The text files of a folder. Ends the program if there is nothing to learn from."""
    first, valid = sorted(folder.glob("first*.txt")), sorted(folder.glob("valid*.txt"))
    others = sorted({*folder.glob("*.txt")} - {*first, *valid})
    if not others:
        sys.exit(f"{folder}: must be a folder with text files to learn from (*.txt); there are none")
    return Files(first, others, valid)


def read_texts(files: list[Path]) -> Iterator[str]:
    """The texts of the files, one after the other."""
    for file in files:
        for text in file.read_text(encoding="utf-8").split(SEPARATOR):
            if text.strip():
                yield text


def train_tokenizer(lines: Iterator[str], vocab_size: int) -> bytes:
    """A SentencePiece model, BPE with byte fallback (Kudo and Richardson, arXiv:1808.06226), as Llama-2 has it.

    Text is taken as it is: a tokenizer.bin has no place for rules of normalization. One thread: with more, ties between
    pairs may fall otherwise. A newline is no part of a line, so that it stays the token of its byte.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=model, model_type="bpe", vocab_size=vocab_size, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True,
        character_coverage=1.0, unk_id=UNK, bos_id=BOS, eos_id=EOS, pad_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def tokenizer_bin(model: bytes) -> bytes:
    """The same tokens in llama2.c's layout: length of the longest; then score, length and bytes of each."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokens = [token_bytes(processor, i) for i in range(processor.vocab_size())]
    data = struct.pack("<I", max(map(len, tokens)))
    for i, token in enumerate(tokens):
        data += struct.pack("<fi", processor.get_score(i), len(token)) + token
    return data


def token_bytes(processor: Any, token: int) -> bytes:
    """The text of a token, as llama2.c writes it: special ones on a line of their own, `<0x41>` for the byte 0x41."""
    if token in (BOS, EOS):
        return b"\n<s>\n" if token == BOS else b"\n</s>\n"
    piece: str = processor.id_to_piece(token)
    return piece.replace("▁", " ").encode()


def write_whole(path: Path, data: bytes) -> None:
    """Write beside `path`, then rename: a reader never sees half a file."""
    beside = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
