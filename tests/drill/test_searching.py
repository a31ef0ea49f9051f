"""T-001's tool: a search that would find what it claims is not there."""

import base64
import json
import os
import time
from pathlib import Path

import pytest

from hanatalk.drill.searching import Search

TEXT = "안녕, 들려? canary 4711"
SURROUNDED = [b"", b"x", b"xy", b"xyz"]


@pytest.mark.parametrize("before", SURROUNDED)
@pytest.mark.parametrize("after", SURROUNDED)
@pytest.mark.parametrize(
    "encode",
    [
        bytes,
        base64.b64encode,
        base64.urlsafe_b64encode,
        lambda content: content.hex().encode(),
        lambda content: content.hex().upper().encode(),
    ],
)
def test_t001_a_text_is_found_in_every_encoding_wherever_it_stands(before: bytes, after: bytes, encode) -> None:  # type: ignore[no-untyped-def]
    planted = os.urandom(100) + encode(before + TEXT.encode() + after) + os.urandom(100)
    assert {hit.needle for hit in Search([TEXT]).content(planted, place="-")} == {TEXT}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_t001_a_text_is_found_in_unicodes_encodings(encoding: str) -> None:
    assert Search([TEXT]).content(b"\x00" + TEXT.encode(encoding), place="-")


def test_t001_a_text_is_found_in_json() -> None:
    assert Search([TEXT]).content(json.dumps({"text": TEXT}).encode(), place="-")


def test_random_bytes_hold_nothing() -> None:
    assert Search(["민지", "Jihoon", TEXT]).content(os.urandom(1 << 20), place="-") == []


def test_file_names_and_files_in_folders_are_searched(tmp_path: Path) -> None:
    (tmp_path / "Jihoon").mkdir()
    (tmp_path / "Jihoon" / "wal").write_bytes(b"...minji is here")
    assert {hit.place for hit in Search(["minji", "Jihoon"]).files(tmp_path)} == {
        "name of Jihoon",
        "name of Jihoon/wal",
        "Jihoon/wal",
    }


def test_offset_and_form_are_told() -> None:
    (hit,) = Search(["Jihoon"]).content(b"123" + b"Jihoon", place="log")
    assert (hit.place, hit.offset, hit.form) == ("log", 3, "utf-8")


def test_a_thousand_needles_cost_one_pass() -> None:
    search = Search(f"canary number {number:04} 안녕" for number in range(1000))
    content = os.urandom(1 << 20)
    start = time.perf_counter()
    assert search.content(content, place="-") == []
    assert time.perf_counter() - start < 10  # 12,000 patterns one after the other would take minutes
