"""What several tests need: models, files of other programs, the command line as a process."""
