"""What a file is and how it may be called (HT-C-153, HT-C-154, T-068, T-069)."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanatalk.client import kinds


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFX\x10\0\0\0WEBPVP8 ", kinds.UNKNOWN),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x18ftypavif", "image/avif"),
        (b"\0\0\0\x18ftypisom", "video/mp4"),
        (b"%PDF-1.7", "application/pdf"),
        (b"  \n<!-- hello --><svg xmlns='x'>", "image/svg+xml"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!DOCTYPE svg>\n<SVG>", "image/svg+xml"),
        (b"<!DOCTYPE html><p>", "text/html"),
        (b"<html>", "text/html"),
        (b"<script>alert(1)</script>", "text/html"),
        (b"<!-- -->" * 400 + b"<html>", "text/html"),
        (b"<!--" * 1000, kinds.TEXT),
        (b"MZ\x90", "application/x-msdownload"),
        (b"#!/bin/sh\n", "text/x-script"),
        ("안녕하세요".encode() * 500, kinds.TEXT),
        ("안녕".encode()[:5], kinds.TEXT),
        (b"\x80\x81", kinds.UNKNOWN),
        (b"a\0b", kinds.UNKNOWN),
        (b"", kinds.UNKNOWN),
    ],
)
def test_content_says_what_a_file_is(head: bytes, kind: str) -> None:
    assert kinds.kind_of(head) == kind


@pytest.mark.parametrize(
    ("name", "kind", "deceives"),
    [
        ("photo.jpg", "image/jpeg", False),
        ("photo.JPEG", "image/jpeg", False),
        ("photo.jpg", "application/x-msdownload", True),
        ("photo.jpg", "image/png", True),
        ("photo", "image/png", False),
        ("setup", "application/x-msdownload", True),
        ("notes.txt", "text/plain", False),
        ("notes.txt", "text/html", True),
        ("report.docx", "application/zip", False),
        ("report.pdf", "application/zip", True),
        ("tool.py", "text/plain", False),
        ("clip.mov", "video/mp4", False),
        ("data.bin", kinds.UNKNOWN, True),
    ],
)
def test_t069_a_name_that_says_otherwise(name: str, kind: str, deceives: bool) -> None:
    """T-069."""
    assert kinds.disagree(name, kind) is deceives


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../../etc/passwd",
            "a/b",
            "a\\b",
            "C:evil",
            "a\0b",
            ".bashrc",
            "..",
            ".",
            "",
            " ",
            "name.",
            " name",
            "name ",
        ),
        *("photo\u202egpj.exe", "a\u200bb", "a\ufeffb", "a\u2066b", "\u3164", "a\nb", "a\tb", "\u0301a", "a\ue000b"),
        *("CON", "con.txt", "nul.tar.gz", "LPT1", "com¹.txt", 'a"b', "a*b", "a?b", "a|b", "<a>", "\u3000a"),
    ],
)
def test_t068_a_name_that_deceives_is_replaced(name: str) -> None:
    """T-068."""
    assert kinds.safe_name(name, "image/jpeg") == "attachment.jpg"
    assert kinds.safe_name(name, kinds.UNKNOWN) == "attachment"


@pytest.mark.parametrize("name", ["사진.jpg", "Жан 1.pdf", "a.b.c", "연락처 (2).vcf", "console.log", "naïve — “q”.txt"])
def test_an_honest_name_stays(name: str) -> None:
    assert kinds.safe_name(name, kinds.UNKNOWN) == unicodedata.normalize("NFC", name)
    assert kinds.safe_name(unicodedata.normalize("NFD", name), kinds.UNKNOWN) == unicodedata.normalize("NFC", name)


def test_a_long_name_keeps_its_extension() -> None:
    assert kinds.safe_name("가" * 255 + ".jpeg", kinds.UNKNOWN) == "가" * 65 + ".jpeg"


@given(st.text(max_size=255), st.sampled_from([*kinds.EXTENSIONS, kinds.UNKNOWN]))
def test_any_name_ends_as_one_that_stays_in_its_folder(name: str, kind: str) -> None:
    """T-068."""
    made = kinds.safe_name(name, kind)
    assert made not in ("", ".", "..")
    assert not set(made) & set("/\\\0\n:")
    assert 0 < len(kinds.numbered(made, 999).encode()) <= 255


def test_numbers_stand_before_the_extension() -> None:
    assert [kinds.numbered("a.b.txt", number) for number in (1, 2, 3)] == ["a.b.txt", "a.b (2).txt", "a.b (3).txt"]
    assert kinds.numbered("name", 2) == "name (2)"
    assert kinds.renamed("scan.bmp", "image/png") == "scan.png"
    assert kinds.renamed("photo.JPEG", "image/jpeg") == "photo.JPEG"
