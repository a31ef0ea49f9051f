"""Hanatalk: private messaging that a warrant cannot open. The rooms and their borders are drawn in ARCHITECTURE.md."""

__version__ = "0.1.0"
