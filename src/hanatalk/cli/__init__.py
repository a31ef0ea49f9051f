"""The `hana` command: parse, call, print. `main` is the entry point; one module per family of commands.

Nothing here decides anything about messages: every command makes one or a few calls of `hanatalk.client` and prints
the result. Modules are imported when their command is used, so that `hana --help` stays quick.
"""

from hanatalk.cli.entry import main

__all__ = ["main"]
