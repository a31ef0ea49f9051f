"""Compile the sentence catalogues: `src/hanatalk/words/<language>.po` to `.mo`. Quick when nothing changed.

python scripts/compile_catalogues.py
"""

import os
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po


def compile_catalogues(folder: Path) -> list[Path]:
    """Compile each catalogue whose `.mo` is missing or older; return the ones written."""
    written = []
    for source in sorted(folder.glob("*.po")):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns:
            continue
        with source.open("rb") as opened:
            catalogue = read_po(opened, locale=source.stem, abort_invalid=True)
        # Several processes may do this at once (test workers): each writes its own file, the rename is atomic.
        unfinished = target.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as opened:
            write_mo(opened, catalogue)
        unfinished.replace(target)
        written.append(target)
    return written


if __name__ == "__main__":
    for path in compile_catalogues(Path(__file__).resolve().parent.parent / "src" / "hanatalk" / "words"):
        print(f"compiled {path.name}")
