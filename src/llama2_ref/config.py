"""The sizes of a model, checked once, so that nothing after this needs to check them again."""

from dataclasses import dataclass, fields
from math import isfinite, pi
from typing import Any

from .errors import ConfigError

SCALINGS = ("linear", "llama3")


@dataclass(frozen=True)
class RopeScaling:
    """How RoPE's frequencies are changed, so that a model bears a longer context than it was trained on first.

    "linear" divides each frequency by `factor` (Chen et al., arXiv:2306.15595, equation 4, "position interpolation").
    "llama3" divides those that turn less than `low_freq_factor` times in `original_seq_len` tokens, leaves those that
    turn more than `high_freq_factor` times, and goes from one to the other linearly between (Grattafiori et al.,
    arXiv:2407.21783, section 3.4; Hugging Face's `rope_type` of that name).

    Raises ConfigError if the kind is another one, or a number is out of range.

    >>> RopeScaling("linear", 4.0).scale(1.0)
    0.25
    """

    kind: str
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_seq_len: int = 8192

    def __post_init__(self) -> None:
        if self.kind not in SCALINGS:
            raise ConfigError(f"rope scaling must be one of {', '.join(SCALINGS)} (got {self.kind!r})")
        if not (isfinite(self.factor) and self.factor >= 1):
            raise ConfigError(f"factor of rope scaling must be finite and at least 1 (got {self.factor})")
        if not (0 < self.low_freq_factor < self.high_freq_factor and isfinite(self.high_freq_factor)):
            got = f"{self.low_freq_factor}, {self.high_freq_factor}"
            raise ConfigError(f"frequency factors must be finite, positive and rising (got {got})")
        _check_size("original_seq_len", self.original_seq_len)

    def scale(self, frequency: float) -> float:
        """What becomes of a frequency, in radians per token."""
        if self.kind == "linear":
            return frequency / self.factor
        turns = self.original_seq_len * frequency / (2 * pi)
        part = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        kept = min(max(part, 0.0), 1.0)
        return kept * frequency + (1 - kept) * (frequency / self.factor)

    @property
    def sensitivity(self) -> float:
        """How many times larger the relative error of a frequency may become, at most."""
        if self.kind == "linear":
            return 1.0
        low, high = self.low_freq_factor, self.high_freq_factor
        return 1.0 + high / (high - low) * (self.factor - 1)


@dataclass(frozen=True)
class Config:
    """The seven numbers of a llama2.c header, and constants that such files leave out.

    Letters used for them in shapes throughout: D `dim`, F `hidden_dim`, L `n_layers`, H `n_heads`, K `n_kv_heads`,
    V `vocab_size`, S `seq_len`, E `head_size`; T is a number of tokens.

    Raises ConfigError if a size is not a positive integer, `n_kv_heads` does not divide `n_heads`, `n_heads` does not
    divide `dim` where no head size is given, the head size is odd (RoPE rotates pairs), or a constant is not finite and
    in range.

    >>> Config(dim=64, hidden_dim=172, n_layers=5, n_heads=8, n_kv_heads=4, vocab_size=512, seq_len=512).head_size
    8
    """

    dim: int  # D: width of the residual stream
    hidden_dim: int  # F: width inside the feed-forward network
    n_layers: int  # L: number of blocks
    n_heads: int  # H: number of query heads
    n_kv_heads: int  # K: number of key/value heads, each shared by H/K query heads
    vocab_size: int  # V: number of tokens
    seq_len: int  # S: context, in tokens
    norm_eps: float = 1e-5  # added to the mean square in RMSNorm
    rope_theta: float = 10000.0  # base of the RoPE angles
    head_size: int = 0  # E: numbers in one attention head; 0 becomes dim / n_heads
    rope_scaling: RopeScaling | None = None  # of the RoPE angles

    def __post_init__(self) -> None:
        for field in fields(self)[:7]:
            _check_size(field.name, getattr(self, field.name))
        if self.head_size == 0:
            if self.dim % self.n_heads:
                raise ConfigError(f"n_heads must divide dim (got n_heads {self.n_heads}, dim {self.dim})")
            object.__setattr__(self, "head_size", self.dim // self.n_heads)
        _check_size("head_size", self.head_size)
        if self.n_heads % self.n_kv_heads:
            got = f"n_kv_heads {self.n_kv_heads}, n_heads {self.n_heads}"
            raise ConfigError(f"n_kv_heads must divide n_heads (got {got})")
        if self.head_size % 2:
            raise ConfigError(f"head size must be even, since RoPE rotates pairs (got {self.head_size})")
        if not (isfinite(self.norm_eps) and self.norm_eps > 0):
            raise ConfigError(f"norm_eps must be finite and positive (got {self.norm_eps})")
        if not (isfinite(self.rope_theta) and self.rope_theta >= 1):
            raise ConfigError(f"rope_theta must be finite and at least 1 (got {self.rope_theta})")

    @property
    def q_dim(self) -> int:
        """H*E: numbers in the queries of one token in one layer. For most models this is D."""
        return self.n_heads * self.head_size

    @property
    def kv_dim(self) -> int:
        """K*E: numbers in the keys (or values) of one token in one layer."""
        return self.n_kv_heads * self.head_size

    @property
    def rope(self) -> tuple[Any, ...]:
        """What follows the position in a call of `rope_table`: the scaling only where there is one."""
        base = self.head_size, self.rope_theta
        return base if self.rope_scaling is None else (*base, self.rope_scaling)


def _check_size(name: str, size: Any) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(f"{name} must be a positive whole number (got {size!r})")
