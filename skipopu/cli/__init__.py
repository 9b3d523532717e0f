"""The command line: one file a command; `app` puts them together and holds the error policy."""

from skipopu.cli.app import main

__all__ = ["main"]
