"""The array half of reading and writing model files."""
