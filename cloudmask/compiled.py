"""Functions over pixels, compiled by Numba.

Written as array operations they make many passes, and threads wait for each other at the interpreter's lock. Compiled,
they make one pass and do not hold the lock.
"""

from typing import Callable

import numba


def compiled(function: Callable) -> Callable:
    """Compile a function at its first call, in about a second; kept on disk beside its file or in the user's cache."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither folder is writable: no cache
        return numba.njit(nogil=True)(function)
