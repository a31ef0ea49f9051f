"""What a file is by its content, never by its name (HT-C-153); what a name on disk may look like (HT-C-154). Pure."""

import re
import unicodedata

HEAD = 4_096  # bytes that are looked at
UNKNOWN = "application/octet-stream"
TEXT = "text/plain"

# (offset, bytes, type); the first that fits
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"MZ", "application/x-msdownload"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"#!", "text/x-script"),
)
_RIFF = ("image/webp", "audio/wav", "video/x-msvideo")
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"msf1": "image/heic",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
}
_PROLOGUE = ((b"<?", b"?>"), (b"<!--", b"-->"), (b"<!", b">"))  # what may stand before the first element
_TAGS = {b"svg": "image/svg+xml", **dict.fromkeys((b"html", b"head", b"body", b"script"), "text/html")}

# Extensions under which content of a type is usual; the first is given to a name that we make.
EXTENSIONS = {
    "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "image/png": ("png", "apng"),
    "image/gif": ("gif",),
    "image/bmp": ("bmp", "dib"),
    "image/tiff": ("tif", "tiff", "dng", "nef", "cr2", "arw"),
    "image/webp": ("webp",),
    "image/avif": ("avif",),
    "image/heic": ("heic", "heif"),
    "image/svg+xml": ("svg",),
    "audio/wav": ("wav",),
    "audio/ogg": ("ogg", "oga", "opus", "ogv"),
    "audio/mpeg": ("mp3",),
    "audio/flac": ("flac",),
    "audio/mp4": ("m4a", "mp4"),
    "video/mp4": ("mp4", "m4v", "m4a", "mov"),
    "video/quicktime": ("mov", "qt"),
    "video/webm": ("webm", "mkv", "mka"),
    "video/x-msvideo": ("avi",),
    "application/pdf": ("pdf", "ai"),
    "application/zip": (
        *("zip", "docx", "xlsx", "pptx", "hwpx", "odt", "ods", "odp", "epub", "cbz"),
        *("apk", "jar", "whl", "xpi"),
    ),
    "application/gzip": ("gz", "tgz"),
    "application/x-7z-compressed": ("7z",),
    "application/vnd.rar": ("rar",),
    "application/x-msdownload": ("exe", "dll", "scr", "com", "sys"),
    "application/x-executable": ("elf", "so", "bin", "out", "o"),
    "text/html": ("html", "htm", "xhtml"),
    "text/x-script": ("sh", "py", "pl", "rb", "js", "command"),
}
RAW = frozenset(("dng", "nef", "cr2", "arw"))  # TIFF by content; all that could be made anew is their thumbnail
_OF = {extension: kind for kind, extensions in EXTENSIONS.items() for extension in extensions}
_DECEIVING = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_ELEMENT = re.compile(rb"<\s{0,8}([a-zA-Z]+)")
_RESERVED = re.compile(r"^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])$", re.IGNORECASE)
_FORBIDDEN = frozenset('<>:"/\\|?*')
NAME_BYTES = 200  # of UTF-8, so that " (2)" and the like still fit where names end at 255


def kind_of(head: bytes) -> str:
    """A media type for a file that begins so (its first `HEAD` bytes are enough)."""
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic and (kind not in _RIFF or head[:4] == b"RIFF"):
            return kind
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    markup = _first_element(head[:HEAD].removeprefix(b"\xef\xbb\xbf"))
    if markup in _TAGS:
        return _TAGS[markup]
    return TEXT if _is_text(head[:HEAD]) else UNKNOWN


def _first_element(head: bytes) -> bytes:
    """The name of a markup's first element, lower case; empty if this is none."""
    rest = head.lstrip()
    while rest.startswith(b"<"):
        if rest[:14].lower() == b"<!doctype html":
            return b"html"
        around = next((each for each in _PROLOGUE if rest.startswith(each[0])), None)
        if around is None:
            found = _ELEMENT.match(rest)
            return found.group(1).lower() if found is not None else b""
        rest = rest.partition(around[1])[2].lstrip()
    return b""


def _is_text(head: bytes) -> bool:
    if not head or b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True


def extension_of(name: str) -> str:
    """Lower case, without the dot; empty if there is none."""
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if stem and dot else ""


def disagree(name: str, kind: str) -> bool:
    """Whether a name says that a file is something that its content is not (T-069)."""
    said = _OF.get(extension_of(name))
    if said is None:
        return kind in ("application/x-msdownload", "application/x-executable", "text/html", "image/svg+xml")
    if said == "text/x-script":
        return kind not in (TEXT, "text/x-script")
    return said != kind and extension_of(name) not in EXTENSIONS.get(kind, ())


def safe_name(name: str, kind: str) -> str:
    """The name under which something is saved: as its sender calls it, or, if that deceives, one that we make (T-068).

    Deceiving: parts of a path, control characters, what reorders or hides, names that some system reserves, a dot or a
    space at either end, or none at all.
    """
    normal = unicodedata.normalize("NFC", name)
    if _deceives(normal):
        return f"attachment.{EXTENSIONS[kind][0]}" if kind in EXTENSIONS else "attachment"
    stem, dot, extension = normal.rpartition(".")
    if not stem or len(extension.encode()) > NAME_BYTES // 4:
        stem, dot, extension = normal, "", ""
    room = NAME_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + dot + extension


def _deceives(name: str) -> bool:
    return (
        not name
        or name != name.strip(". \t\u00a0\u3000")
        or any(character in _FORBIDDEN or character in _DECEIVING for character in name)
        or any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for character in name)
        or _RESERVED.match(name.partition(".")[0].strip()) is not None
        or unicodedata.combining(name[0]) != 0
    )


def renamed(name: str, kind: str) -> str:
    """The name of a picture that is of another kind now."""
    if extension_of(name) in EXTENSIONS[kind]:
        return name
    stem, dot, _ = name.rpartition(".")
    return f"{stem if stem and dot else name}.{EXTENSIONS[kind][0]}"


def numbered(name: str, number: int) -> str:
    """``name.ext``, then ``name (2).ext``, …"""
    if number == 1:
        return name
    stem, dot, extension = name.rpartition(".")
    return f"{stem} ({number}).{extension}" if stem and dot else f"{name} ({number})"
