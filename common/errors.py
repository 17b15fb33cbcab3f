"""Mistakes that a user can mend, and how a program ends on them: one line on standard error, exit code not 0.

A `UserError` says what was found, where (file and line, or dataset), and what to do. Anything else that is raised
is a fault of ours and keeps its traceback.
"""

import os
import sys
import traceback
from typing import Callable


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


def run_program(main: Callable[[], int]) -> None:
    """Run `main` and leave the process with its exit code; a `UserError` becomes one line and exit code 1 (or its own).

    The process leaves at once: Horovod's orderly shutdown waits for the other ranks, which may be waiting for this
    one inside a collective operation, and a launcher that sees a rank gone with a code that is not 0 stops the rest.
    """
    try:
        code = main()
    except UserError as error:
        from common import distributed

        if not error.on_all_ranks or distributed.rank() == 0:
            where = f" (rank {distributed.rank()} of {distributed.size()})" if distributed.size() > 1 else ""
            label = "stopped" if isinstance(error, InterruptedTrainingError) else "error"
            print(f"{label}: {error}{where}", file=sys.stderr)
        code = getattr(error, "exit_code", 1)
    except Exception as error:
        # What Horovod and Gloo raise on the ranks that are left when one has gone.
        if not any(text in str(error) for text in ("Horovod has been shut down", "Connection closed by peer")):
            traceback.print_exc()
        else:
            print("stopped: another rank failed; its message says why", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C", file=sys.stderr)
        code = 130
    if code == 0:
        sys.exit(0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
