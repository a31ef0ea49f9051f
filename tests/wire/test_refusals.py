"""The codes and the table of spec/01-relay.md say the same."""

import re
from pathlib import Path

from hanatalk.wire import frames
from hanatalk.wire.refusals import RefusalCode

SPEC = (Path(__file__).parents[2] / "spec/01-relay.md").read_text(encoding="utf-8")


def test_the_table_of_codes_is_the_code() -> None:
    """HT-R-080"""
    table = re.findall(r"^\| `([a-z-]+)` \|", SPEC, re.MULTILINE)
    assert table == [code.value for code in RefusalCode] or sorted(table) == sorted(code.value for code in RefusalCode)
    assert len(table) == len(set(table))


def test_every_code_fits_its_frame() -> None:
    """HT-R-080"""
    for code in RefusalCode:
        frames.decode_relay_frames(frames.encode([frames.Refused(None, code, None, "")]))
