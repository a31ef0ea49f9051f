"""Memory that goes back to the system while somebody goes on holding it (HT-R-137, docs/adr/0016)."""

import ctypes
import mmap
import sys


def give_back(room: memoryview) -> None:
    """Let the system take the whole pages of private, writable memory whose content is not needed any more."""
    if _madvise is None or len(room) < 2 * mmap.PAGESIZE:
        return
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    begin = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (address + len(room)) // mmap.PAGESIZE * mmap.PAGESIZE
    _madvise(begin, end - begin, mmap.MADV_DONTNEED)  # refused, it costs memory and nothing else


def _system_madvise() -> "ctypes._NamedFuncPointer | None":
    if not sys.platform.startswith("linux"):  # elsewhere the call promises less
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function


_madvise = _system_madvise()
