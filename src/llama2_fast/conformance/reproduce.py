"""What fails, as a script that needs none of the tests."""

import base64
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .random_models import Twins

FEW = 64  # numbers that are shown one by one; more are packed

current_script: Callable[[], str] | None = None  # makes the script of the example that is tried now


def call(module: str, name: str, args: Sequence[Any]) -> str:
    """A script that calls one kernel."""
    values = {chr(ord("a") + i): arg for i, arg in enumerate(args)}
    code = f"kernels = importlib.import_module({module!r})\nprint(kernels.{name}({', '.join(values)}))"
    return script(code, **values)


def script(code: str, **values: Any) -> str:
    """A script that gives some names their values, and goes on with the code."""
    lines = [*(f"{name} = {literal(value)}" for name, value in values.items()), code]
    words = set(re.findall(r"\w+", "\n".join(lines)))
    plain = [f"import {name}" for name in ("base64", "importlib", "zlib") if name in words]
    numpy = ["import numpy as np"] if "np" in words else []
    own = [f"import {name}" for name in ("llama2_fast", "llama2_ref") if name in words]
    paragraphs = ["\n".join(part) for part in (plain, numpy, own, lines) if part]
    return "\n\n".join(paragraphs)


def model(twins: Twins, parts: Sequence[Sequence[int]], kernels: str = "", **knobs: Any) -> str:
    """A script that runs a model on parts of a prompt, and prints every buffer that breaks its bound."""
    knobs = {name: value for name, value in knobs.items() if value is not None}
    words = [*(f"{name}={value!r}" for name, value in knobs.items()), *(["kernels=kernels"] if kernels else [])]
    judged = f"llama2_fast.quantize_weights(weights, {knobs['quantize']!r})" if "quantize" in knobs else "weights"
    return f"""\
import llama2_fast
import llama2_ref
from llama2_fast.conformance.random_models import random_twins
from llama2_fast.conformance.taps import compare_taps

{_weights(twins)}
{kernels}
transformer = llama2_fast.Transformer(config, weights, {", ".join(words)})
parts = {[list(part) for part in parts]}
cache, taps = transformer.new_cache(), llama2_fast.Taps()
for part in parts:
    transformer.forward(part, cache, every=True, taps=taps)


def report(layer, name, token, comparison):
    if not comparison.within:
        print(f"{{name}} of layer {{layer}}, token {{token}}{{comparison}}")


compare_taps(config, {judged}, sum(parts, []), taps, report)"""


def bits(twins: Twins, tokens: Sequence[int], cuts: Sequence[int], kind: str | None, threads: int) -> str:
    """A script that feeds a prompt whole, and in parts of those sizes, and prints where the logits differ."""
    return f"""\
import numpy as np

import llama2_fast
import llama2_ref
from llama2_fast.conformance.random_models import random_twins

{_weights(twins)}
tokens, sizes = {list(tokens)}, {list(cuts)}
one = llama2_fast.Transformer(config, weights, threads=1, backend="simd", quantize={kind!r})
many = llama2_fast.Transformer(config, weights, threads={threads}, backend="simd", quantize={kind!r})
whole, cache, parts = one.forward(tokens, one.new_cache(), every=True), many.new_cache(), []
for size in sizes:
    parts.append(many.forward(tokens[cache.length : cache.length + size], cache, every=True))
print(np.argwhere(np.concatenate(parts) != whole[: cache.length]))"""


def _weights(twins: Twins) -> str:
    """Lines that make `config` and `weights` anew."""
    return f"""\
config = llama2_ref.{twins.config!r}
weights = random_twins(config, {twins.seed}, {twins.distribution!r}, {twins.shared}).fast"""


def kernels_of(module: str, names: Sequence[str]) -> str:
    """Lines that name the kernels of a module, and the reference's for the rest, `kernels`."""
    return f"""\
import importlib
from types import SimpleNamespace

own = importlib.import_module({module!r})
kernels = SimpleNamespace(**vars(llama2_ref.kernels) | {{name: getattr(own, name) for name in {list(names)}}})"""


def literal(value: Any) -> str:
    """An expression for an argument, exact to the last bit."""
    if isinstance(value, np.generic):
        return f"np.{value.dtype}({value.item()!r})"
    if isinstance(value, bytes) and len(value) > FEW:
        return _packed(value)
    if not isinstance(value, np.ndarray):
        return repr(value)
    shape = "" if value.ndim == 1 else f".reshape({value.shape})"
    if value.size <= FEW and np.isfinite(value).all():
        return f"np.array({value.reshape(-1).tolist()}, np.{value.dtype}){shape}"
    return f"np.frombuffer({_packed(np.ascontiguousarray(value).tobytes())}, np.{value.dtype}){shape}.copy()"


def _packed(data: bytes) -> str:
    return f"zlib.decompress(base64.b85decode({base64.b85encode(zlib.compress(data)).decode()!r}))"
