"""The tokenizers that come with models of other programs."""
