"""From a prompt to text: streams, batches, chat, stop strings, perplexity."""
