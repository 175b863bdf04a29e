"""The protocol of engines: all that Transformer, sessions, bench and verify use."""

from collections.abc import Sequence
from typing import Any, Protocol

from llama2_ref.config import Config
from llama2_ref.transformer import Taps

from ..weights import Weights

Batch = Sequence[tuple[Sequence[int], Any]]  # [(tokens, cache), ...]


class Engine(Protocol):
    """Runs the forward passes of one model."""

    name: str  # as `backend` has it
    config: Config
    weights: Weights  # as the engine computes with them, or as they came, where it lays them out anew
    quantize: str | None  # what the engine makes of `weights`, as `quantize_weights`; None where they are that already
    threads: int

    def new_cache(self) -> Any:
        """An empty key/value cache for one sequence: with `length`, `keys`, `values`, `store` and `copy`."""

    def forward(self, tokens: Sequence[int], cache: Any, every: bool, taps: Taps | None) -> Any:
        """As llama2_ref.Transformer.forward."""

    def forward_batch(self, batch: Batch, every: bool) -> list[Any]:
        """As llama2_ref.Transformer.forward_batch."""
