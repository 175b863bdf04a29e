"""The command line of both packages."""
