"""As llama2_ref.weights, whose fields hold read-only arrays here: `wq` is (L, D, D), and so on."""

from llama2_ref.weights import Int4Matrix, Int8Matrix, Weights

__all__ = ["Int4Matrix", "Int8Matrix", "Weights"]
