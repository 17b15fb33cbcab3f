"""Mistakes that a user can mend.

A `UserError` says what was found, where (file and line, or dataset), and what to do. Anything else that is raised
is a fault of ours and keeps its traceback.
"""


class UserError(Exception):
    """A mistake in the configuration, the data or the set-up. The message is shown as it is, so it is one line."""

    def __init__(self, message: str, on_all_ranks: bool = False):
        """`on_all_ranks`: every rank raises this same error, so only rank 0 needs to print it."""
        super().__init__(" ".join(message.split()))
        self.on_all_ranks = on_all_ranks


class InterruptedTrainingError(UserError):
    """Training stopped at a checkpoint because it was asked to; the program ends with exit code 75 ("try again")."""

    exit_code = 75


def reason(error: Exception) -> str:
    """The cause, without names of operations and nodes, of an OSError or a tf.errors.OpError."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return error.message.splitlines()[0].split("}} ")[-1].split(" [Op:")[0].rsplit("; ", 1)[-1]
