"""Inputs for the fuzz tests: valid by construction, every size from 1 up, shrinking towards the smallest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import llama2_ref
from llama2_ref.errors import MissingExtraError

from .random_models import DISTRIBUTIONS, Twins, random_twins, vocabulary

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError:
    raise MissingExtraError("inputs are drawn by the hypothesis package: pip install 'llama2-twins[dev]'") from None

Array = NDArray[np.float32]

# The shapes that hide bugs have their opposites here: lengths around the widths of SIMD lanes, one number, one head ...
lengths = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 32, 33, 63, 64, 65, 67]))
seeds = st.integers(0, 2**32 - 1)

moderate: dict[str, Any] = {"min_value": -(2.0**20), "max_value": 2.0**20}
anything: dict[str, Any] = {"allow_nan": False, "allow_infinity": False}


@st.composite
def numbers(draw: st.DrawFn, *shape: int, positive: bool = False) -> Array:
    """An array of finite float32 numbers: moderate ones, any at all, tiny, nearly cancelling, or from a seed.

    Or huge ones, whose squares overflow, and some next to the largest that there is, whose sums do.
    """
    kind = draw(st.sampled_from(("moderate", "seeded", "anything", "subnormal", "huge", "largest", "cancelling")))
    if kind == "moderate":
        x = draw(hnp.arrays(np.float32, shape, elements=moderate))
    elif kind == "anything":
        x = draw(hnp.arrays(np.float32, shape, elements=anything))
    else:
        x = np.random.default_rng(draw(seeds)).standard_normal(shape).astype(np.float32)
        x *= np.float32({"subnormal": 2.0**-140, "huge": 2.0**60, "largest": 2.0**125}.get(kind, 1.0))
        if kind == "cancelling" and shape[-1] > 1:
            x[..., 1::2] = -x[..., : 2 * (shape[-1] // 2) : 2] * np.float32(1 - 2.0**-22)
    return np.abs(x) if positive else x


@st.composite
def grids(draw: st.DrawFn, *shape: int, largest: int) -> Array:
    """Small whole numbers times one power of two: sums of their products are exact in float32, in any order."""
    x = draw(hnp.arrays(np.float32, shape, elements=st.integers(-largest, largest).map(float)))
    return x * np.float32(2.0 ** draw(st.integers(-20, 20)))


@st.composite
def heads(draw: st.DrawFn) -> tuple[int, int, int]:
    """H, K, E: query heads, key/value heads, head size."""
    n_kv_heads, group, half = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    return n_kv_heads * group, n_kv_heads, 2 * half


several_groups = st.sampled_from((66, 74, 96))  # numbers in a row: two groups or more, of 32 to 48 or less


@st.composite
def configs(draw: st.DrawFn, smallest_vocab: int = 1, longest: int = 12, norms: bool = True) -> llama2_ref.Config:
    """Sizes of a tiny model."""
    n_heads, n_kv_heads, head_size = draw(heads())
    constants: dict[str, Any] = {}
    if norms:
        constants["norm_eps"] = draw(st.sampled_from((1e-5, 1e-6, 1e-2)))
        constants["rope_theta"] = draw(st.sampled_from((10000.0, 500000.0, 10.0)))
    return llama2_ref.Config(
        dim=n_heads * head_size,
        hidden_dim=draw(st.one_of(st.integers(1, 40), st.integers(1, 40), several_groups)),
        n_layers=draw(st.integers(1, 3)),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        vocab_size=draw(st.integers(smallest_vocab, smallest_vocab + 40)),
        seq_len=draw(st.integers(1, longest)),
        **constants,
    )


@st.composite
def file_configs(draw: st.DrawFn) -> llama2_ref.Config:
    """Sizes of a tiny model of another program: whole blocks, heads of a size of their own, a scaled RoPE."""
    n_heads, n_kv_heads = draw(st.sampled_from(((2, 1), (4, 2), (4, 4), (8, 2))))
    factor = draw(st.sampled_from((1.0, 2.5, 32.0)))
    llama3 = llama2_ref.RopeScaling("llama3", factor, 1.0, 4.0, draw(st.sampled_from((16, 8192))))
    return llama2_ref.Config(
        dim=draw(st.sampled_from((32, 64))),
        hidden_dim=draw(st.sampled_from((32, 96))),
        n_layers=draw(st.integers(1, 2)),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        vocab_size=draw(st.integers(1, 40)),
        seq_len=12,
        head_size=draw(st.sampled_from((16, 32, 48))),
        rope_scaling=draw(st.sampled_from((None, llama2_ref.RopeScaling("linear", factor), llama3))),
    )


@st.composite
def models(draw: st.DrawFn, /, **limits: Any) -> Twins:
    """A tiny model for both packages, with shared or separate classifier, and weights of one kind."""
    config = draw(configs(**limits))
    return random_twins(config, draw(seeds), draw(st.sampled_from(DISTRIBUTIONS)), shared=draw(st.booleans()))


@st.composite
def prompts(draw: st.DrawFn, config: llama2_ref.Config, long: bool = False) -> list[int]:
    """Tokens that fit into the context: mostly few of them, or mostly as many as it holds."""
    token = st.integers(0, config.vocab_size - 1)
    least, most = 1, config.seq_len
    if long:
        least = most = config.seq_len - draw(st.integers(0, config.seq_len - 1))
    return draw(st.lists(token, min_size=least, max_size=most))


# Texts of the letters that vocabularies are made of, and any text at all; surrogates are no text.
texts = st.one_of(
    st.text(" abcé▁€\U0001f600", max_size=30),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[list[bytes], list[float]]:
    """A vocabulary whose tokens can be joined: letters, then joins of earlier tokens; with byte tokens or without.

    Scores may be equal, so that ties are met; tokens may occur twice; letters may be of several bytes.
    """
    layout = draw(st.sampled_from(("newer", "older", "none")))
    tokens = [b"<unk>", b"\n<s>\n", b"\n</s>\n"]
    if layout == "newer":
        tokens = vocabulary(259)[0]
    elif layout == "older":
        tokens += [chr(byte).encode() for byte in range(256)]
    letters = draw(st.lists(st.sampled_from(" abé▁€\U0001f600"), min_size=1, max_size=4, unique=True))
    pieces = [letter.encode() for letter in letters]
    pairs = [a + b for a in pieces for b in pieces]
    pieces += draw(st.lists(st.sampled_from(pairs), max_size=len(pairs), unique=True))
    for _ in range(draw(st.integers(0, 12))):
        pieces.append(draw(st.sampled_from(pieces)) + draw(st.sampled_from(pieces)))
    score = st.one_of(st.integers(-3, 0).map(float), st.floats(-1e6, 1e6, width=32))
    scores = draw(st.lists(score, min_size=len(pieces), max_size=len(pieces)))
    return tokens + pieces, [0.0] * len(tokens) + scores


@st.composite
def special_tokens_of(
    draw: st.DrawFn, vocabulary: tuple[list[bytes], list[float]]
) -> llama2_ref.tokenizer.SpecialTokens:
    """Which tokens of a vocabulary are special, user-defined or bytes, as other files than llama2.c's may say."""
    ids = st.sampled_from(range(len(vocabulary[0])))
    bos, eos, unknown = draw(st.none() | ids), draw(st.none() | ids), draw(ids)
    control = {token for token in (bos, eos) if token is not None} | draw(st.sets(ids, max_size=2))
    return llama2_ref.tokenizer.SpecialTokens(
        unknown, bos, eos,
        stop=frozenset(draw(st.sets(ids, max_size=2))),
        control=frozenset(control),
        byte_of=draw(st.none() | st.dictionaries(ids, st.integers(0, 255), max_size=3)),
        user_defined=frozenset(draw(st.sets(ids, max_size=3)) - control),
        adds_bos=draw(st.booleans()), space_prefix=draw(st.booleans()), trims=draw(st.booleans()),
    )  # fmt: skip


@st.composite
def encodings(draw: st.DrawFn) -> tuple[tuple[list[bytes], list[float]], str]:
    """A vocabulary, and a text: mostly of its own letters and pieces, so that what can be joined overlaps."""
    vocabulary = draw(vocabularies())
    pieces = [token.decode() for token in vocabulary[0][3:] if not token.startswith(b"<0x")][-24:]
    letters = [piece for piece in pieces if len(piece) == 1]
    joined = st.lists(st.sampled_from(pieces), max_size=12).map("".join)
    apart = st.lists(st.sampled_from(letters or pieces), min_size=3, max_size=16).map("".join)
    return vocabulary, draw(st.one_of(apart, apart, apart, joined, texts))
