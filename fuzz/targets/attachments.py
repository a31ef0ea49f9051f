"""Attachments: chunks as relays and senders may make them, what a file is, what its name may be (T-068 … T-070)."""

import io
import unicodedata
from collections.abc import Iterator

from PIL import Image

from fuzz.target import Attack, Target, hold
from hanatalk import pictures
from hanatalk.client import kinds
from hanatalk.client.engine.formats import chunking
from hanatalk.errors import ContentError
from hanatalk.pictures import worker

SECRET = b"s" * 32
CHUNKS = 4


def _chunk() -> Attack:
    key = chunking.ChunkKey(SECRET)
    real = [key.seal(position, b"content", last=position == CHUNKS - 1) for position in range(CHUNKS)]

    def attack(given: bytes) -> None:
        """First byte: which real chunk is changed, and how; the rest is what it is changed with."""
        flags, rest = given[:1] or b"\0", given[1:]
        chunk = real[flags[0] % CHUNKS]
        if flags[0] & 4:  # bytes at its end
            entry = chunk[: len(chunk) - len(rest)] + rest
        elif flags[0] & 8:  # bytes at its beginning
            entry = rest + chunk[len(rest) :]
        else:
            entry = rest
        position, content = key.open(entry, chunks=CHUNKS)
        hold(entry == real[position], "a chunk that was not sealed opens")
        hold(content.rstrip(b"\0") == b"content", "another content than was sealed")

    return attack


def _chunks() -> Iterator[bytes]:
    key = chunking.ChunkKey(SECRET)
    yield b"\4"
    yield b"\5" + bytes(16)
    yield b"\x08" + (1).to_bytes(4)
    yield b"\0" + key.seal(0, b"content", last=True)[:100]


def _name() -> Attack:
    def attack(given: bytes) -> None:
        head, _, rest = given.partition(b"\n")
        kind = kinds.kind_of(head)
        name = kinds.safe_name(rest.decode(errors="replace"), kind)
        kinds.disagree(rest.decode(errors="replace"), kind)
        hold(0 < len(name.encode()) <= kinds.NAME_BYTES, "a name of another length")
        hold(not set(name) & set('/\\\0:*?"<>|'), "a part of a path in a name")
        hold(name not in (".", "..") and name == name.strip(". "), "a name that some system reads as another")
        hold(
            not any(unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" for c in name),
            "something hidden in a name",
        )
        for number in (1, 2, 10):
            hold(len(kinds.numbered(name, number).encode()) <= 255, "a numbered name that is too long")

    return attack


def _names() -> Iterator[bytes]:
    for head in (
        b"\xff\xd8\xff\xe0",
        b"RIFF0000WEBP",
        b"0000ftypheic",
        b"<?xml version='1'?><!-- x --><svg>",
        b"#!/bin/sh",
    ):
        for name in (
            "사진.jpg",
            "../../etc/passwd",
            "a\u202egpj.exe",
            "CON.txt",
            "x" * 300 + ".tar.gz",
            ".hidden",
            "a.",
        ):
            yield head + b"\n" + name.encode()


def _answer() -> Attack:
    def attack(given: bytes) -> None:
        said, made = pictures.read_answer(given)
        hold(len(made) <= pictures.OUTPUT_LIMIT, "a picture that is too large")
        hold(given.endswith(made), "a picture that was not said")
        if hasattr(said, "preview"):
            pictures.is_preview(bytes.fromhex(said.preview))

    return attack


def _answers() -> Iterator[bytes]:
    yield b'{"type": "image/png", "width": 2, "height": 2, "preview": "0101f800", "confined": true}\nPNG'
    yield b'{"error": "too-large"}\n'


def _picture() -> Attack:
    worker.prepare()

    def attack(given: bytes) -> None:
        said, made = worker.run({"job": "clean"}, given)
        hold(made and said["width"] <= worker.LONGEST and said["height"] <= worker.LONGEST, "no picture, or too long")
        hold(pictures.is_preview(bytes.fromhex(said["preview"])), "no preview")

    return attack


def _small_pictures() -> Iterator[bytes]:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        out = io.BytesIO()
        Image.new("RGB", (3, 2), "red").save(out, kind)
        yield out.getvalue()


TARGETS = [
    Target(
        name="attachment-chunk",
        parsers=("hanatalk.client.engine.formats.chunking.ChunkKey",),
        allowed=(ContentError,),
        ready=_chunk,
        seeds=_chunks,
        longest=70_000,
        short=300,
    ),
    Target(
        name="file-name",
        parsers=("hanatalk.client.kinds.kind_of", "hanatalk.client.kinds.safe_name"),
        allowed=(),
        ready=_name,
        seeds=_names,
        short=3000,
    ),
    Target(
        name="picture-answer",
        parsers=("hanatalk.pictures.read_answer",),
        allowed=(ValueError,),
        ready=_answer,
        seeds=_answers,
        short=2000,
    ),
    Target(
        name="picture",
        parsers=("hanatalk.pictures.worker.run",),
        allowed=(worker.Refused,),
        ready=_picture,
        seeds=_small_pictures,
        short=300,
    ),
]
