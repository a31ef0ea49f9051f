"""Numbers of bytes as people read them."""


def in_bytes(count: int) -> str:
    """``512 B``, ``1.4 MiB``."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1_000:
            break
        size, unit = size / 1_024, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
