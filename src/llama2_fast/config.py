"""As llama2_ref.config: sizes are checked once, there is nothing to make faster."""

from llama2_ref.config import Config, RopeScaling

__all__ = ["Config", "RopeScaling"]
