"""As llama2_ref.generate: the loop waits for the model, there is nothing to make faster."""

from llama2_ref.generate import TextStream

__all__ = ["TextStream"]
