"""The words that stand in and beside messages, in the reader's language."""

from hanatalk.cli.output import Output
from hanatalk.cli.rendering import Words


def words(output: Output) -> Words:
    """Of the chosen language."""
    say = output.say
    return Words(
        me=say("cli.me"),
        recalled=say("cli.recalled"),
        failed=say("cli.failed"),
        edited=say("cli.edited"),
        once=say("cli.once"),
        once_opened=say("cli.once-opened"),
        whisper=say("cli.whisper"),
        no_text=say("cli.no-text"),
        sticker=say("cli.sticker"),
    )
