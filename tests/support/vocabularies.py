"""Small vocabularies of other packages, trained in the tests that need them, and as the metadata of GGUF files."""

import functools
import io
import json
from pathlib import Path
from typing import Any

import pytest

CORPUS = """\
Once upon a time there was a small village by the sea, and in that village lived a boy who liked to count the waves.
He counted 1, 2, 3, up to 1024; then he began anew: "One wave, two waves", he'd say, and they'd all laugh.
def count(waves):  # how many?
    return sum(1 for wave in waves if wave.height > 0.5)
Der Müller mahlt, l'été est là, ¿qué tal?, привет мир, 世界 你好, 日本語も, 한국어, \U0001f600\U0001f30a.
"""


def importorskip(name: str) -> Any:
    """A package of an extra."""
    return pytest.importorskip(name, reason=f"{name} is not installed (extra {name})")


@functools.cache
def train_pieces(**options: Any) -> bytes:
    """A tokenizer.model: bytes for what has no token, with a leading space, and nothing normalized, as Llama's."""
    sentencepiece = importorskip("sentencepiece")
    model = io.BytesIO()
    usual = {
        "model_type": "bpe", "vocab_size": 420, "byte_fallback": True, "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True, "split_digits": True,
        "user_defined_symbols": "<sep>,<sep2>", "num_threads": 1, "minloglevel": 3,
    }  # fmt: skip
    lines = iter([line for line in CORPUS.splitlines() for _ in range(3)])
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=lines, model_writer=model, **(usual | options))
    return model.getvalue()


def processor(model: bytes) -> Any:
    return importorskip("sentencepiece").SentencePieceProcessor(model_proto=model)


@functools.cache
def train_letters() -> str:
    """A tokenizer.json of GPT-2's kind, with special tokens at both ends, and one that is user-defined."""
    tokenizers = importorskip("tokenizers")
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=450,
        special_tokens=["<|begin|>", "<|end|>"],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(CORPUS.splitlines(keepends=True) * 3, trainer)
    inner.add_special_tokens(["<|turn|>"])
    inner.add_tokens(["[call]"])
    return str(inner.to_str())


def json_of_pieces(model: bytes) -> str:
    """The tokenizer.json of the same vocabulary as a tokenizer.model, as transformers makes it."""
    tokenizers, pieces = importorskip("tokenizers"), processor(model)
    names = [pieces.id_to_piece(token) for token in range(pieces.get_piece_size())]
    ids = {name: token for token, name in enumerate(names)}
    pairs = []
    for token, name in enumerate(names):
        if not (pieces.is_control(token) or pieces.is_unknown(token) or pieces.is_byte(token)):
            for i in range(1, len(name)):
                if name[:i] in ids and name[i:] in ids:
                    pairs.append((-pieces.get_score(token), ids[name[:i]], ids[name[i:]], (name[:i], name[i:])))
    bpe = tokenizers.models.BPE(ids, [pair for *_, pair in sorted(pairs)], unk_token="<unk>", byte_fallback=True)
    inner = tokenizers.Tokenizer(bpe)
    normalizers, decoders = tokenizers.normalizers, tokenizers.decoders
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(steps)
    inner.add_special_tokens(["<unk>", "<s>", "</s>"])
    return str(inner.to_str())


def write_folder(folder: Path, **files: Any) -> Path:
    """Files of a folder, by names in which _DOT_ is a dot: bytes, texts, or what becomes JSON."""
    for name, content in files.items():
        text = content if isinstance(content, (str, bytes)) else json.dumps(content)
        (folder / name.replace("_DOT_", ".")).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def gguf_of_pieces(trained: bytes, **changes: Any) -> dict[str, Any]:
    """A tokenizer.model as metadata of a GGUF file; None leaves something out."""
    pieces = processor(trained)
    ids = range(pieces.get_piece_size())
    user_defined = {"<sep>", "<sep2>"}
    kinds = [
        2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i) else
        5 if pieces.is_unused(i) else 4 if pieces.id_to_piece(i) in user_defined else 1 for i in ids
    ]  # fmt: skip
    metadata = {
        "model": "llama", "tokens": [pieces.id_to_piece(i) for i in ids], "token_type": kinds,
        "scores": [pieces.get_score(i) for i in ids], "bos_token_id": pieces.bos_id(), "eos_token_id": pieces.eos_id(),
        "unknown_token_id": pieces.unk_id(),
    }  # fmt: skip
    return gguf(metadata | changes)


def gguf_of_letters(pre: str = "gpt-2", **changes: Any) -> dict[str, Any]:
    """`train_letters` as metadata of a GGUF file; None leaves something out."""
    state = json.loads(train_letters())
    names = dict(state["model"]["vocab"]) | {added["content"]: added["id"] for added in state["added_tokens"]}
    special = {added["content"]: 3 if added["special"] else 4 for added in state["added_tokens"]}
    tokens = sorted(names, key=lambda name: names[name])
    metadata = {
        "model": "gpt2", "pre": pre, "tokens": tokens, "token_type": [special.get(name, 1) for name in tokens],
        "merges": [" ".join(merge) for merge in state["model"]["merges"]], "bos_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    return gguf(metadata | changes)


def gguf(metadata: dict[str, Any]) -> dict[str, Any]:
    return {f"tokenizer.ggml.{name}": value for name, value in metadata.items() if value is not None}
