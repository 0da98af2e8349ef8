"""How this process's memory is managed."""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Numbers of glibc's `mallopt` (malloc.h)."""
_LARGEST_KEPT, _MOST_KEPT = 2**27, 2**29


def keep_freed_memory() -> None:
    """Let glibc keep large blocks that were freed, for the next layer of a network.

    By default it hands each block of more than 32 MiB back to the kernel, which fills the next
    one with zeros page by page: on a CPU up to half of the time of large batches of pictures. Now
    blocks up to 128 MiB, and 512 MiB of them, are kept: a batch of pictures needs no larger ones,
    and a whole picture of many megapixels does not stay. Does nothing where the C library is
    another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
