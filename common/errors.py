"""Errors that a user can correct, and how they are worded.

A `UserError` says where the problem is (file and line, or dataset), what was found, and what to do. Any other exception
is a bug in this project and keeps its traceback.
"""

import os
import re
import shutil
from typing import Optional, Union

_CLOSING_FAILED = "Can't decrement id ref count"  # in h5py's error


def printable(text: str) -> str:
    """Show control characters and text-direction marks as escape codes, which a terminal does not obey.

    Names and values in messages may come from untrusted files.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


class UserError(Exception):
    """A mistake in the configuration, the data or the set-up, shown to the user as one line."""

    def __init__(self, message: str, *, on_all_ranks: bool = False):
        """Join the message's lines into one and escape what a terminal would obey.

        Args:
            message: where, what was found, what to do.
            on_all_ranks: every rank raises this same error, so only rank 0 needs to print it.
        """
        super().__init__(printable(" ".join(message.split())))
        self.on_all_ranks = on_all_ranks


class InterruptedTrainingError(UserError):
    """Training stopped at a checkpoint on request; the program ends with exit code 75 (EX_TEMPFAIL, "try again")."""

    exit_code = 75


def storage_problem(error: Exception, folder: Union[str, os.PathLike], needed: int = 0) -> str:
    """Say why writing into `folder` failed, and how much space is free there.

    Args:
        error: what the failed write raised.
        folder: where the file was to be written.
        needed: bytes that were to be written; 0 if unknown.

    Returns:
        Part of a sentence, for a message in parentheses.
    """
    cause = reason(error)
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return cause
    return f"{cause}; {f'{needed} bytes were needed, ' if needed else ''}{free} bytes are free"


def reason(error: Exception) -> str:
    """Return the cause that an OSError or a tf.errors.OpError names, without operation and node names."""
    if isinstance(error, OSError):
        # h5py gives no strerror, but the HDF5 library's text, which has the system's words among others.
        of_hdf5 = re.search(r"error message = '([^']+)'", str(error))
        return of_hdf5[1] if of_hdf5 else error.strerror or str(error)
    return (
        (str(getattr(error, "message", error)).splitlines() or [type(error).__name__])[0]
        .split("}} ")[-1]
        .split(" [Op:")[0]
        .rsplit("; ", 1)[-1]
    )


def storage_error(error: BaseException) -> Optional[Exception]:
    """Return the error of the file system behind another one; None for an error of another kind.

    h5py raises a RuntimeError where closing fails after writing did, TensorFlow an error of its own.
    """
    chain: list[BaseException] = [error]
    while chain[-1].__context__ is not None:
        chain.append(chain[-1].__context__)
    of_storage = [each for each in chain if isinstance(each, OSError)]
    if of_storage:
        return of_storage[-1]
    is_storage = isinstance(error, RuntimeError) and _CLOSING_FAILED in str(error)
    is_tensorflow = hasattr(error, "error_code") and hasattr(error, "node_def")
    return error if isinstance(error, Exception) and (is_storage or is_tensorflow) else None
