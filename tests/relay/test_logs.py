"""What a log line can hold (T-003)."""

import io
import json

import pytest

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


def test_an_event_with_a_value_in_it_is_dropped() -> None:
    """HT-R-094: nobody can format an address into the event."""
    stream = io.StringIO()
    relay_log(stream).info("lost 192.0.2.7")
    assert json.loads(stream.getvalue()) == {"level": "info"}
