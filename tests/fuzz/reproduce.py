"""What fails, as a script that needs no part of this suite."""

import base64
import inspect
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import models

FEW = 64  # numbers that are shown one by one; more are packed

told: Callable[[], str] | None = None  # makes the script of what is tried now


def call(module: str, name: str, args: Sequence[Any]) -> str:
    """A script that calls one kernel."""
    values = [literal(arg) for arg in args]
    lines = ["import importlib", *(_imports(values)), "", f"kernels = importlib.import_module({module!r})"]
    lines += [f"{chr(ord('a') + i)} = {value}" for i, value in enumerate(values)]
    lines.append(f"print(kernels.{name}({', '.join(chr(ord('a') + i) for i in range(len(values)))}))")
    return "\n".join(lines)


def model(twins: models.Twins, parts: Sequence[Sequence[int]], kernels: str = "", **knobs: Any) -> str:
    """A script that runs a model on parts of a prompt, and prints every buffer that breaks its bound."""
    knobs = {name: value for name, value in knobs.items() if value is not None}
    judged = f"llama2_fast.quantize_weights(weights, {knobs['quantize']!r})" if "quantize" in knobs else "weights"
    words = [*(f"{name}={value!r}" for name, value in knobs.items()), *(["kernels=kernels"] if kernels else [])]
    return f"""\
from typing import Any

import numpy as np

import llama2_fast
import llama2_ref
from llama2_fast._bounds.taps import compare_taps


{inspect.getsource(models.random_matrix)}

{inspect.getsource(models.random_fields)}

config = llama2_ref.{twins.config!r}
weights = llama2_fast.Weights(**random_fields(config, {twins.seed}, {twins.kind!r}, {twins.shared}))
{kernels}
transformer = llama2_fast.Transformer(config, weights, {", ".join(words)})
parts = {[list(part) for part in parts]}
cache, taps = transformer.new_cache(), llama2_fast.Taps()
for part in parts:
    transformer.forward(part, cache, every=True, taps=taps)


def found(layer, name, token, comparison):
    if not comparison.within:
        print(f"{{name}} of layer {{layer}}, token {{token}}{{comparison}}")


compare_taps(config, {judged}, sum(parts, []), taps, found)"""


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
    if not isinstance(value, np.ndarray):
        return repr(value)
    shape = "" if value.ndim == 1 else f".reshape({value.shape})"
    if value.size <= FEW and np.isfinite(value).all():
        return f"np.array({value.reshape(-1).tolist()}, np.{value.dtype}){shape}"
    packed = base64.b85encode(zlib.compress(np.ascontiguousarray(value).tobytes())).decode()
    return f"np.frombuffer(zlib.decompress(base64.b85decode({packed!r})), np.{value.dtype}){shape}.copy()"


def _imports(values: Sequence[str]) -> list[str]:
    text = " ".join(values)
    packed = ["import base64", "import zlib"] if "zlib." in text else []
    return [*packed, "", "import numpy as np"] if "np." in text else packed
