"""Decodes one picture and encodes it anew, in a process of its own that can do nothing else (HT-C-160 … HT-C-163).

Run as a file, isolated, not as part of the package: it imports Pillow and the standard library. Before it looks at the
first byte of the picture it gives up memory, time, files, processes and, on Linux, every system call that is not needed
to count in memory: no file, socket, process or signal can come of it, whatever a decoder can be talked into.

In: a line of JSON (the job), then the picture, to the end. Out: a line of JSON, then the new picture.
"""

import contextlib
import ctypes
import io
import json
import os
import platform
import resource
import struct
import sys
from typing import Any

MEMORY = 1 << 30  # bytes of address space
SECONDS = 20  # of CPU
PIXELS = 100_000_000  # of one picture; of all frames of a moving one, a fourth of it (HT-C-163)
FRAMES = 500
LONGEST = 4_096  # pixels of the longer side that are kept
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
CELLS = 6  # of the longer side of a preview (HT-C-155)

# System calls that counting in memory, reading standard input and writing standard output take, per machine.
_CALLS = {
    "x86_64": (
        0xC000003E,
        (
            *(0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 28, 60, 96, 99, 131, 202, 219, 228, 230, 231),
            318,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        (
            *(57, 62, 63, 64, 80, 93, 94, 98, 113, 115, 124, 128, 132, 134, 135, 139, 179, 214, 215, 216, 222, 226),
            *(233, 278),
        ),
    ),
}
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # SECCOMP_RET_*; DENY is EPERM


class Refused(Exception):
    """Why there is no new picture."""


def give_up_limits() -> None:
    """Memory, time, files, processes, core dumps."""
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_CORE, 0),
        *([(resource.RLIMIT_NPROC, 0)] if hasattr(resource, "RLIMIT_NPROC") else []),
    ):
        with contextlib.suppress(ValueError, OSError):  # an operator's limit is lower already
            resource.setrlimit(what, (limit, limit))


def give_up_calls() -> bool:
    """Every other system call fails from here on, for good. False: not on this machine.

    :raises Refused: it should have worked, and did not
    """
    known = _CALLS.get(platform.machine())
    if sys.platform != "linux" or known is None:
        return False
    architecture, allowed = known
    rules = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, _KILL), (0x20, 0, 0, 0)]
    for place, number in enumerate(allowed):
        rules.append((0x15, len(allowed) - place, 0, number))
    rules += [(0x06, 0, 0, _DENY), (0x06, 0, 0, _ALLOW)]
    filter_ = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    program = Program(len(rules), ctypes.addressof(filter_))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(program), 0, 0):  # no new privileges; the filter
        raise Refused("confinement")
    return True


def run(job: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """:raises Refused: ``unreadable``, ``too-large``"""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            return _clean(picture) if job["job"] == "clean" else _thumbnail(picture, int(job["longest"]))
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused("too-large") from None
    except Refused:
        raise
    except Exception:  # noqa: BLE001 (a decoder may raise anything; all of it means the same)
        raise Refused("unreadable") from None


def _upright(picture: Any, longest: int) -> Any:
    """The first frame as it is to be looked at, in sRGB, at most so long, with nothing but pixels."""
    from PIL import Image, ImageCms, ImageOps

    _check_size(picture)
    if picture.format in ("JPEG", "MPO"):
        picture.draft("RGB" if picture.mode != "L" else "L", (longest, longest))  # decodes to a fraction of the size
    profile = picture.info.get("icc_profile")
    upright: Any = ImageOps.exif_transpose(picture)
    see_through = "A" in upright.getbands() or "transparency" in upright.info
    wanted = "RGBA" if see_through else "L" if upright.mode in ("1", "L", "I;16") else "RGB"
    if profile and upright.mode in ("RGB", "CMYK"):
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            colours = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            upright = ImageCms.profileToProfile(upright, colours, ImageCms.createProfile("sRGB"), outputMode="RGB")
    if upright.mode != wanted:
        upright = upright.convert(wanted)
    if max(upright.size) > longest:
        upright.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    upright.info = {}
    return upright


def _check_size(picture: Any) -> None:
    width, height = picture.size
    if not 0 < width * height <= PIXELS or max(width, height) > 65_535:
        raise Refused("too-large")


def _clean(picture: Any) -> tuple[dict[str, Any], bytes]:
    if getattr(picture, "n_frames", 1) > 1 and picture.format in ("GIF", "WEBP", "PNG", "AVIF"):
        return _moving(picture)
    kind = picture.format
    upright = _upright(picture, LONGEST)
    out = io.BytesIO()
    if kind in ("JPEG", "MPO", "AVIF") and upright.mode != "RGBA":
        upright.save(out, "JPEG", quality=85, progressive=True, optimize=True)
        return _said(upright, "image/jpeg"), out.getvalue()
    if kind in ("WEBP", "AVIF"):
        upright.save(out, "WEBP", quality=85)
        return _said(upright, "image/webp"), out.getvalue()
    upright.save(out, "PNG")
    return _said(upright, "image/png"), out.getvalue()


def _moving(picture: Any) -> tuple[dict[str, Any], bytes]:
    """All frames, as a moving WebP."""
    from PIL import Image, ImageSequence

    _check_size(picture)
    width, height = picture.size
    if picture.n_frames > FRAMES or picture.n_frames * width * height > PIXELS // 4:
        raise Refused("too-large")
    frames, durations = [], []
    for frame in ImageSequence.Iterator(picture):
        durations.append(min(60_000, max(20, int(frame.info.get("duration", 100) or 100))))
        copy = frame.convert("RGBA")
        if max(copy.size) > LONGEST:
            copy.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        copy.info = {}
        frames.append(copy)
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=80)
    return _said(frames[0], "image/webp"), out.getvalue()


def _thumbnail(picture: Any, longest: int) -> tuple[dict[str, Any], bytes]:
    upright = _upright(picture, longest)
    out = io.BytesIO()
    upright.save(out, "WEBP", quality=80)
    return _said(upright, "image/webp"), out.getvalue()


def _said(picture: Any, kind: str) -> dict[str, Any]:
    width, height = picture.size
    return {"type": kind, "width": width, "height": height, "preview": _preview(picture).hex()}


def _preview(picture: Any) -> bytes:
    """Some cells of colour (HT-C-155)."""
    from PIL import Image

    width, height = picture.size
    across = max(1, min(CELLS, round(CELLS * width / max(width, height))))
    down = max(1, min(CELLS, round(CELLS * height / max(width, height))))
    flat = picture
    if picture.mode == "RGBA":
        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture, mask=picture.getchannel("A"))
    pixels = flat.convert("RGB").resize((across, down), Image.Resampling.BOX).tobytes()
    cells = (pixels[place : place + 3] for place in range(0, len(pixels), 3))
    return bytes([across, down]) + b"".join(
        ((red >> 3) << 11 | (green >> 2) << 5 | blue >> 3).to_bytes(2, "big") for red, green, blue in cells
    )


def prepare() -> None:
    """Load whatever is needed while files can still be opened."""
    import warnings

    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        Image,
        ImageCms,
        JpegImagePlugin,
        MpoImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    loaded = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin)
    assert all((*loaded, WebPImagePlugin))
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = PIXELS
    ImageCms.createProfile("sRGB")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    for kind in FORMATS:  # what these load late, they load now
        tried = io.BytesIO()
        Image.new("RGB", (2, 2)).save(tried, kind)
        run({"job": "clean"}, tried.getvalue())
    tried = io.BytesIO()
    Image.new("P", (2, 2)).save(tried, "GIF", save_all=True, append_images=[Image.new("P", (2, 2), 1)])
    run({"job": "clean"}, tried.getvalue())


def main() -> None:
    """One picture; the process ends whatever becomes of it."""
    prepare()
    give_up_limits()
    said: dict[str, Any]
    made = b""
    try:
        confined = give_up_calls()
        line = sys.stdin.buffer.readline(1_024)
        said, made = run(json.loads(line), sys.stdin.buffer.read())
        said["confined"] = confined
    except Refused as refused:
        said = {"error": str(refused)}
    except MemoryError:
        said = {"error": "too-large"}
    out = sys.stdout.buffer
    out.write(json.dumps(said).encode() + b"\n" + made)
    out.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
