"""What a log line can hold (T-003)."""

import io
import json

import pytest

from hanatalk import __version__
from hanatalk.relay.logs import relay_log


def test_allowed_fields_are_written() -> None:
    """HT-R-094"""
    stream = io.StringIO()
    relay_log(stream).info("expired", entries=3, channels=1)
    assert json.loads(stream.getvalue()) == {"event": "expired", "level": "info", "entries": 3, "channels": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"address": "192.0.2.7"},
        {"url": "ws://127.0.0.1:7710"},
        {"error": "connect to 192.0.2.7:9000 failed"},
        {"code": "192.0.2.7"},
        {"code": "::1"},
        {"code": b"\xf0" * 32},
        {"store": "/home/minji/.local/share"},
        {"store": "f0" * 32},
        {"error": ValueError("token")},
    ],
    ids=str,
)
def test_everything_else_is_dropped(fields: dict[str, str]) -> None:
    """HT-R-094, T-003: by name, and by value under an allowed name."""
    stream = io.StringIO()
    relay_log(stream).error("event", **fields)
    assert json.loads(stream.getvalue()) == {"event": "event", "level": "error"}


def test_lines_as_text_hold_the_same() -> None:
    """HT-R-094, T-003"""
    stream = io.StringIO()
    log = relay_log(stream, form="text")
    log.warning("disk-full", free_mib=12, url="ws://192.0.2.7", code="192.0.2.7")
    assert stream.getvalue() == "warning disk-full free_mib=12\n"


def test_less_grave_lines_are_left_out() -> None:
    stream = io.StringIO()
    log = relay_log(stream, level="warning")
    log.info("listening")
    log.warning("disk-full")
    log.error("loop")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["disk-full", "loop"]


def test_a_version_is_said_and_nothing_that_looks_like_one() -> None:
    """HT-R-094: an address looks much like one."""
    stream = io.StringIO()
    relay_log(stream).info("listening", version=__version__)
    relay_log(stream).info("listening", version="192.0.2")
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("version") for line in said] == [__version__, None]


def test_an_event_with_a_value_in_it_is_dropped() -> None:
    """HT-R-094: nobody can format an address into the event."""
    stream = io.StringIO()
    relay_log(stream).info("lost 192.0.2.7")
    assert json.loads(stream.getvalue()) == {"level": "info"}
