"""A QR code in the terminal: two modules per character, so that it comes out square."""

import segno

_QUIET = 2  # modules of margin; scanners manage with two where the standard asks for four
_BLACK_ON_WHITE = "\x1b[30;107m"
_RESET = "\x1b[0m"


def drawn(link: str, *, colour: bool) -> str:
    """Lines of half blocks. Without colour light modules are drawn, which suits a dark terminal (most scanners read
    the inverse too).
    """
    code = segno.make_qr(link, error="l", boost_error=False)
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=_QUIET)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        dark = zip(upper, lower, strict=True)
        if colour:
            lines.append(_BLACK_ON_WHITE + "".join(" ▄▀█"[above * 2 + below] for above, below in dark) + _RESET)
        else:
            lines.append("".join("█▀▄ "[above * 2 + below] for above, below in dark))
    return "\n".join(lines)
