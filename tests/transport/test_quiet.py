"""What picows logs goes nowhere (T-003)."""

import logging

import pytest

from hanatalk.transport.quiet import silent


def test_what_picows_logs_goes_nowhere(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """HT-R-094, T-003: at any level, whatever logging is set to."""
    with caplog.at_level(logging.NOTSET):
        logger = silent()
        for level in (1, logging.DEBUG, logging.INFO, logging.ERROR, logging.CRITICAL):
            logger.log(level, "New connection accepted: %s", "192.0.2.7")
        assert not logger.isEnabledFor(logging.CRITICAL)
    assert not caplog.records
    assert capsys.readouterr() == ("", "")
