"""A place for what picows logs: nowhere."""

import logging
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Adapter: TypeAlias = logging.LoggerAdapter[logging.Logger]


def silent() -> "Adapter":
    """picows logs peer addresses at INFO and at ERROR what a peer sent (HT-R-094).

    An adapter, because picows makes one child per connection of a plain Logger. The logger hangs below no root: no
    setting of the process can make it speak.
    """
    logger = logging.Logger("hanatalk.silent", level=logging.CRITICAL + 1)  # noqa: LOG001 (not the global one, on purpose)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logging.LoggerAdapter(logger)
