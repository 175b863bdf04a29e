"""The model, as llama2_ref.transformer: one face of whichever engine runs its forward passes."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref import transformer as reference
from llama2_ref.config import Config

from . import kernels as numpy_kernels
from .engines.choose import make_engine
from .engines.numpy_engine import KVCache
from .weights import Weights

__all__ = ["KVCache", "Taps", "Transformer"]

Array = NDArray[np.float32]


class Taps(reference.Taps):
    """Every buffer of a forward pass: `taps[layer, name][t]` is the one of token t. As llama2_ref.Taps."""

    def record(self, layer: int, name: str, value: Array) -> Array:
        """Keep a buffer, (T, n), and return it."""
        earlier = self.get((layer, name))
        self[layer, name] = value.copy() if earlier is None else np.concatenate((earlier, value))
        return value


class Transformer:
    """A Llama-2 model. As llama2_ref.Transformer.

    `threads` is the number of this package's threads, None for one on each core; BLAS has its own setting. Kernels that
    are not this package's get one vector at a time, as from llama2_ref, and from one thread.

    `backend` is "numpy", or "simd" for compiled code, which needs numba (extra jit): then logits don't depend on
    threads, on how tokens are fed, nor on the processor, and taps can't replace a buffer: what `record` returns is
    ignored. "auto" is simd where it can be, and so is None, unless $LLAMA2_BACKEND says otherwise. `quantize` is that
    of `load`: integers are made of one matrix at a time. The attributes `backend`, `threads`, `quantize` and `weights`
    say what the engine in use has: see `engines.protocol.Engine`.

    Raises ConfigError for another backend, or if simd can't have these weights or kernels, MissingExtraError if it is
    asked for without numba, and what `quantize_weights` raises.
    """

    def __init__(
        self,
        config: Config,
        weights: Weights,
        kernels: ModuleType | Any = numpy_kernels,
        *,
        threads: int | None = None,
        backend: str | None = None,
        quantize: str | None = None,
    ) -> None:
        self.config, self.kernels = config, kernels
        self.engine = make_engine(config, weights, kernels, threads, backend, quantize)
        self.backend, self.threads = self.engine.name, self.engine.threads
        self.weights, self.quantize = self.engine.weights, self.engine.quantize

    def new_cache(self) -> Any:
        """An empty key/value cache, for one sequence."""
        return self.engine.new_cache()

    def forward(self, tokens: Sequence[int], cache: Any, every: bool = False, taps: Taps | None = None) -> Any:
        """Append T tokens to a sequence: logits of the last one, (V,), or with `every` of all of them, (T, V).

        As llama2_ref.Transformer.forward.
        """
        return self.engine.forward(tokens, cache, every, taps)

    def forward_batch(self, batch: Sequence[tuple[Sequence[int], Any]], every: bool = False) -> list[Any]:
        """As llama2_ref.Transformer.forward_batch; the compiled engine runs all sequences in one pass."""
        return self.engine.forward_batch(batch, every)
