"""Mistakes that a user can mend.

A `UserError` says what was found, where (file and line, or dataset), and what to do. Anything else that is raised
is a fault of ours and keeps its traceback.
"""

import os
import shutil
from typing import Union


def printable(text: str) -> str:
    """The text without what a terminal would obey: control characters and marks of direction, shown as their codes.

    Names and values may come from files of strangers.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


class UserError(Exception):
    """A mistake in the configuration, the data or the set-up. The message is shown as it is, so it is one line."""

    def __init__(self, message: str, *, on_all_ranks: bool = False):
        """on_all_ranks: every rank raises this same error, so only rank 0 needs to print it."""
        super().__init__(printable(" ".join(message.split())))
        self.on_all_ranks = on_all_ranks


class InterruptedTrainingError(UserError):
    """Training stopped at a checkpoint because it was asked to; the program ends with exit code 75 ("try again")."""

    exit_code = 75


def storage_problem(error: Exception, folder: Union[str, os.PathLike], needed: int = 0) -> str:
    """Why writing into `folder` failed, with the bytes that are free there and, if known, those that were needed."""
    said = reason(error)
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return said
    return f"{said}; {f'{needed} bytes were needed, ' if needed else ''}{free} bytes are free"


def reason(error: Exception) -> str:
    """The cause, without names of operations and nodes, of an OSError or a tf.errors.OpError."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return (
        (str(getattr(error, "message", error)).splitlines() or [type(error).__name__])[0]
        .split("}} ")[-1]
        .split(" [Op:")[0]
        .rsplit("; ", 1)[-1]
    )
