"""Functions over pixels, compiled by Numba. As array operations they take many passes, in which threads wait for each
other at the interpreter's lock; compiled they take one and do not hold it.
"""

from typing import Callable

import numba


def compiled(function: Callable) -> Callable:
    """Compiled at the first call in about a second, and kept on disk beside its file or in the user's cache."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # nowhere to keep it: neither here nor in the user's cache may files be written
        return numba.njit(nogil=True)(function)
