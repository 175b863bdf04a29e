"""The sizes of a model, checked once, so that nothing after this needs to check them again."""

from dataclasses import dataclass, fields
from math import isfinite

from .errors import ConfigError


@dataclass(frozen=True)
class Config:
    """The seven numbers of a llama2.c header, and two constants that such files leave out.

    Letters used for them in shapes throughout: D `dim`, F `hidden_dim`, L `n_layers`, H `n_heads`, K `n_kv_heads`,
    V `vocab_size`, S `seq_len`, E `head_size`; T is a number of tokens.

    Raises ConfigError if a size is not a positive integer, `n_heads` does not divide `dim`, `n_kv_heads` does not
    divide `n_heads`, the head size is odd (RoPE rotates pairs), or a constant is not finite and in range.

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

    def __post_init__(self) -> None:
        for field in fields(self)[:7]:
            size = getattr(self, field.name)
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ConfigError(f"{field.name} must be a positive whole number (got {size!r})")
        if self.dim % self.n_heads:
            raise ConfigError(f"n_heads must divide dim (got n_heads {self.n_heads}, dim {self.dim})")
        if self.n_heads % self.n_kv_heads:
            got = f"n_kv_heads {self.n_kv_heads}, n_heads {self.n_heads}"
            raise ConfigError(f"n_kv_heads must divide n_heads (got {got})")
        if self.head_size % 2:
            raise ConfigError(f"head size dim/n_heads must be even, since RoPE rotates pairs (got {self.head_size})")
        if not (isfinite(self.norm_eps) and self.norm_eps > 0):
            raise ConfigError(f"norm_eps must be finite and positive (got {self.norm_eps})")
        if not (isfinite(self.rope_theta) and self.rope_theta >= 1):
            raise ConfigError(f"rope_theta must be finite and at least 1 (got {self.rope_theta})")

    @property
    def head_size(self) -> int:
        """E: numbers in one attention head."""
        return self.dim // self.n_heads

    @property
    def kv_dim(self) -> int:
        """K*E: numbers in the keys (or values) of one token in one layer."""
        return self.n_kv_heads * self.head_size
