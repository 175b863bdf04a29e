"""Model files of every program, read and written."""
