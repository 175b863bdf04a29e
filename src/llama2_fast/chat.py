"""As llama2_ref.chat: prompts are short, there is nothing to make faster."""

from llama2_ref.chat import Conversation, encode_chat

__all__ = ["Conversation", "encode_chat"]
