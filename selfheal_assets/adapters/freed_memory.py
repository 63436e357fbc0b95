"""Hand memory that is free already back to the machine. Never frees anything that is in use."""

import ctypes
import gc
import sys
from contextlib import suppress


def give_back() -> None:
    """What a library leaves behind after a large table: cycles of frames, and what its allocators keep for later.

    It takes some tenths of a second: for large batches only.
    """
    gc.collect()
    if pyarrow := sys.modules.get("pyarrow"):
        pyarrow.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # The C library of Linux alone has it.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
