"""The command line; torch and everything on it is imported by the command that needs it."""

from esegeta.cli.app import app, main

__all__ = ["app", "main"]
